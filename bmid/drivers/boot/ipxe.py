"""Boot pointers as files: a TFTP folder and a DHCP host entry for each node, served by dnsmasq.

With dnsmasq's --tftp-unique-root=ip a node sees the folder of its own address and no other's; one without a folder
sees the root, where the dark script is. What is in the files is written in `script`.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from bmid.drivers.base import Boot, BootEntry, Pointer
from bmid.drivers.base.advice import NO_PLACE
from bmid.drivers.boot.lease import release_lease
from bmid.drivers.boot.neighbour import Neighbours
from bmid.drivers.boot.script import (
    DARK,
    boot_script,
    checked_address,
    foreign_lines,
    host_line,
    read_pointer,
)
from bmid.errors import Misconfigured, PermanentError, TransientError

__all__ = ["IpxeBoot"]

_SCRIPT = "boot.ipxe"


class IpxeBoot(Boot):
    """Pointers below `tftp_root`, host entries in `hosts_dir` (with dhcp="own").

    `loaders` are iPXE's own files by the name under which firmware asks for them; `dnsmasq_pid` the file with the
    pid of dnsmasq (None: it is somebody else's); `interface` the head's on the boot network; `tries` how often a
    node tries its target before it starts again.
    """

    def __init__(
        self,
        tftp_root: Path,
        hosts_dir: Path,
        loaders: Mapping[str, Path],
        *,
        dnsmasq_pid: Path | None,
        dhcp: str,
        interface: str,
        server: str | None = None,
        tries: int = 20,
    ) -> None:
        if dhcp not in {"own", "external"}:
            raise Misconfigured(
                f"boot: dhcp is {dhcp!r}, and can be own or external", todo="Set [boot] dhcp to one of them."
            )
        self._root = tftp_root
        self._hosts = hosts_dir
        self._loaders = dict(loaders)
        self._pid = dnsmasq_pid
        self._own = dhcp == "own"
        self._neighbours = Neighbours(interface)
        self._server_address = server
        self._tries = tries
        self._prepared = False

    def check(self) -> str:
        with _translated():
            self._prepare()
            for folder in (self._root, self._hosts) if self._own else (self._root,):
                if not os.access(folder, os.W_OK):
                    raise TransientError("boot-folder", f"{folder} can't be written to", todo=NO_PLACE)
        if self._pid is not None and self._server() is None:
            raise TransientError(
                "boot-server-down",
                f"no dnsmasq runs under the pid in {self._pid}",
                todo="start dnsmasq; pointers are files and needn't be written again",
            )
        return f"iPXE by TFTP below {self._root}, DHCP {'own' if self._own else 'external'}"

    def point(self, entry: BootEntry) -> None:
        script = boot_script(entry, self._tries)
        folder = self._root / entry.address
        with _translated():
            if not self._prepared:
                self._prepare()
            folder.mkdir(mode=0o750, exist_ok=True)
            standing = read_pointer(_read(folder / _SCRIPT) or "")
            if standing is not None and standing.disk != entry.disk:
                (folder / _SCRIPT).unlink()  # or this node could boot that disk before we are done
            for name in self._loaders:
                _link(self._root / name, folder / name)
            if self._own:
                self._enter(entry)
            if _read(folder / _SCRIPT) != script:
                _write(folder / _SCRIPT, script, 0o640)

    def clear(self, address: str, disk: str) -> None:
        folder = self._root / checked_address(address)
        with _translated():
            pointer = read_pointer(_read(folder / _SCRIPT) or "")
            if pointer is not None and pointer.disk != disk:
                return
            (folder / _SCRIPT).unlink(missing_ok=True)
            self._strike(address, disk)
            if not self._entered(address):
                shutil.rmtree(folder, ignore_errors=True)

    def pointer(self, address: str) -> Pointer | None:
        folder = self._root / checked_address(address)
        with _translated():
            return self._pointer(folder)

    def pointers(self) -> tuple[Pointer, ...]:
        with _translated():
            folders = (self._root, self._hosts) if self._own else (self._root,)
            names = {path.name for folder in folders if folder.is_dir() for path in folder.iterdir()}
            found = (self._pointer(self._root / name) for name in sorted(names) if _is_address(name))
            return tuple(pointer for pointer in found if pointer)

    def foreign_lines(self, entry: BootEntry) -> tuple[str, ...]:
        return () if self._own else foreign_lines(entry)

    def answers(self, address: str) -> bool | None:
        return self._neighbours.answers(checked_address(address))

    def _pointer(self, folder: Path) -> Pointer | None:
        pointer = read_pointer(_read(folder / _SCRIPT) or "")
        entered = self._entered(folder.name) if self._own else None
        if pointer is None:
            # A half-written or half-removed one: its host entry still says whose it is.
            return Pointer(folder.name, entered[0], 0, "", complete=False) if entered else None
        whole = all((folder / name).exists() for name in self._loaders)
        if self._own:
            whole = whole and entered is not None and entered[0] == pointer.disk
        return Pointer(folder.name, pointer.disk, pointer.generation, pointer.iqn, complete=whole)

    def _prepare(self) -> None:
        """The dark script and the loaders in the root, from where each node's folder gets its links."""
        self._root.mkdir(parents=True, exist_ok=True)
        if self._own:
            self._hosts.mkdir(parents=True, exist_ok=True)
        for name, source in self._loaders.items():
            content = source.read_bytes()
            kept = self._root / name
            if not kept.exists() or kept.read_bytes() != content:
                _write(kept, content, 0o644)
        if _read(self._root / _SCRIPT) != DARK:
            _write(self._root / _SCRIPT, DARK, 0o644)
        self._prepared = True

    def _enter(self, entry: BootEntry) -> None:
        line = host_line(entry)
        file = self._hosts / entry.address
        before = _read(file)
        text = f"# disk {entry.disk}\n{line}\n"
        if before == text:
            return
        _write(file, text, 0o644)
        if before is not None and line not in before.splitlines():
            self._reload()  # dnsmasq takes a changed entry beside the old one

    def _entered(self, address: str) -> tuple[str, str] | None:
        """Disk and line of the host entry for an address."""
        lines = (_read(self._hosts / address) or "").splitlines()
        if len(lines) < 2 or not lines[0].startswith("# disk "):
            return None
        return lines[0].removeprefix("# disk "), lines[1]

    def _strike(self, address: str, disk: str) -> None:
        entered = self._entered(address)
        if self._own and entered is not None and entered[0] == disk:
            (self._hosts / address).unlink(missing_ok=True)
            self._reload()
            if self._server_address is not None:
                release_lease(self._server_address, address, entered[1].partition(",")[0])

    def _reload(self) -> None:
        pid = self._server()
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGHUP)

    def _server(self) -> int | None:
        """The pid of dnsmasq, None if it doesn't run: then it reads everything anew when it starts."""
        text = (_read(self._pid) or "").strip() if self._pid is not None else ""
        if not text.isdecimal():
            return None
        return int(text) if (_read(Path(f"/proc/{text}/comm")) or "").strip() == "dnsmasq" else None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace")
    except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
        return None


def _write(path: Path, content: str | bytes, mode: int) -> None:
    """By rename only: a file that is overwritten in place is served cut to its old length. The name begins with a
    dot until then, and dnsmasq skips such names."""
    data = content.encode() if isinstance(content, str) else content
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        os.fchmod(file.fileno(), mode)
    new.rename(path)


def _link(source: Path, path: Path) -> None:
    if path.exists() and path.samefile(source):
        return
    path.unlink(missing_ok=True)
    try:
        path.hardlink_to(source)
    except OSError:
        shutil.copy(source, path)


def _is_address(name: str) -> bool:
    try:
        return checked_address(name) == name
    except PermanentError:
        return False


@contextmanager
def _translated() -> Iterator[None]:
    """Errors of the file system, as ours: all of them may pass (a full or read-only disk, a missing mount)."""
    try:
        yield
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise TransientError("boot-folder", f"{where}{error.strerror or error}", todo=NO_PLACE) from None
