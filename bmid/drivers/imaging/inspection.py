"""Looking at an image file that somebody sent: what runs in the child, `python -m bmid.drivers.imaging.inspection`.

Reads a request as JSON from its first argument; says how far it is, and at last what it found, as lines of JSON.
Imports little, so that it starts quickly. The parent's side is in qemu.py.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from bmid.drivers.imaging.format import HEAD, image_format, packing
from bmid.drivers.imaging.qcow2 import read_qcow2, refuse_cut
from bmid.drivers.imaging.report import tell
from bmid.drivers.imaging.unpack import Incoming, unpack
from bmid.drivers.imaging.verdict import Found, Limits, Unfit, human, unreadable

__all__ = ["Request", "examine", "source_of"]

_TOOL_SECONDS = 3600


@dataclass(frozen=True)
class Request:
    """What to look at, where an unpacked copy goes, and what was said of it."""

    source: str
    target: str
    sha256: str | None
    declared: str | None
    limits: Limits


def examine(request: Request, report: Callable[[int, int], None], with_qemu: bool = True) -> Found:
    """Look at the file. `report` is told bytes done and total. Raises Unfit; then nothing is left at the target."""
    target = Path(request.target)
    target.unlink(missing_ok=True)
    try:
        return _examine(request, target, report, with_qemu)
    except BaseException as error:
        target.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _unfit(error) from error
        raise


def source_of(file: Path, kind: str) -> str:
    """The file as QEMU is told to open it: with the format forced, and with no other file to follow to."""
    node: dict[str, Any] = {"driver": kind, "file": {"driver": "file", "filename": str(file)}}
    if kind == "qcow2":
        node["backing"] = None
    return "json:" + json.dumps(node)


def _examine(request: Request, target: Path, report: Callable[[int, int], None], with_qemu: bool) -> Found:
    # Not waiting, should somebody have put a pipe there.
    with open(os.open(request.source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as source:
        state = os.fstat(source.fileno())
        if not stat.S_ISREG(state.st_mode):
            raise Unfit("image-unreadable", "the source is not a regular file")
        if not state.st_size:
            raise Unfit("image-empty", "the file is empty: copy or upload it again")
        incoming = Incoming(source, lambda done: report(done, state.st_size))
        try:
            return _find(request, source, incoming, target, with_qemu)
        except Unfit as error:
            if request.sha256 and not error.retry:
                incoming.sha256(request.sha256)  # one that differs explains whatever else is wrong with the file
            raise


def _find(request: Request, source: BinaryIO, incoming: Incoming, target: Path, with_qemu: bool) -> Found:
    """What is in the file; its digest only if all of it had to be read for that."""
    compression = packing(os.pread(source.fileno(), HEAD, 0))
    if compression:
        unpack(incoming, compression, target, request.limits)
    image = target if compression else Path(request.source)
    with image.open("rb") as file:
        kind, virtual_size = _look(file, request)
    if with_qemu:
        virtual_size = _ask_qemu(image, kind)
    digest = incoming.sha256(request.sha256) if compression else ""
    return Found(kind, compression, os.fstat(source.fileno()).st_size, virtual_size, digest)


def _look(file: BinaryIO, request: Request) -> tuple[str, int]:
    size = os.fstat(file.fileno()).st_size
    if not size:
        raise Unfit("image-empty", "unpacked, the file is empty: pack it again")
    kind = image_format(file.read(HEAD), request.declared)
    if kind == "qcow2":
        header = read_qcow2(file, request.limits)
        refuse_cut(header, file)
        return kind, header.size
    if size > request.limits.virtual_size:
        detail = f"the image is a disk of {human(size)}, the limit is {human(request.limits.virtual_size)}"
        raise Unfit("too-large", f"{detail}: import a smaller one, or have the limit raised")
    return kind, -(-size // 512) * 512


def _ask_qemu(image: Path, kind: str) -> int:
    """The disk's size as QEMU sees it; a qcow2's tables are checked."""
    code, output = _run("qemu-img", "info", "--output=json", source_of(image, kind))
    try:
        size = int(json.loads(output)["virtual-size"])
    except (ValueError, KeyError, TypeError):
        raise Unfit("image-damaged", f"qemu-img can't read the {kind} file: {output[-300:].strip()}") from None
    if kind == "qcow2":
        code, output = _run("qemu-img", "check", "--output=json", source_of(image, kind))
        if code not in (0, 3):  # 3: clusters that nothing refers to, which do no harm
            hint = "`qemu-img check` tells where; make or upload it anew"
            raise Unfit("image-damaged", f"the qcow2 file's tables are damaged: {hint}")
    return size


def _run(*command: str) -> tuple[int, str]:
    done = subprocess.run(
        ["setpriv", "--pdeathsig", "KILL", *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_TOOL_SECONDS,
        check=False,
    )
    return done.returncode, done.stdout.decode(errors="replace")


def _unfit(error: OSError) -> Unfit:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Unfit("workspace-full", "there is no room to unpack the file: free space on the head", retry=True)
    if error.errno == errno.EFBIG:
        return Unfit("too-large", "unpacked, the file is larger than the limit: import a smaller one")
    return unreadable(error)


def _main() -> None:
    values = json.loads(sys.argv[1])
    request = Request(**{**values, "limits": Limits(**values["limits"])})
    tell(lambda report: examine(request, report))


if __name__ == "__main__":
    _main()
