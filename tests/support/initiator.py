"""Real initiators with the address of a node: libiscsi, as iscsi-inq and in QEMU's tools.

Nothing on the machine's own network is changed for it: a small relay in this process gives their connections the
source address that the target expects.
"""

from __future__ import annotations

import selectors
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self


class Relay:
    """Listens on a port of its own and hands each connection on to `portal`, from `source`."""

    def __init__(self, portal: tuple[str, int], source: str) -> None:
        self._portal = portal
        self._source = source
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._ended = False

    def __enter__(self) -> Self:
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        self._ended = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _listen(self) -> None:
        while not self._ended:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(near,), daemon=True).start()

    def _carry(self, near: socket.socket) -> None:
        with near, suppress(OSError):
            far = socket.create_connection(self._portal, 5, source_address=(self._source, 0))
            far.settimeout(None)
            with far, selectors.DefaultSelector() as selector:
                selector.register(near, selectors.EVENT_READ, far)
                selector.register(far, selectors.EVENT_READ, near)
                while not self._ended:
                    for key, _ in selector.select(1):
                        data = key.fileobj.recv(1 << 16)  # type: ignore[union-attr]
                        if not data:
                            return
                        key.data.sendall(data)


class Initiator:
    """What a node knows: its target, name and secret, and a relay that stands where it stands."""

    def __init__(self, port: int, iqn: str, user: str, secret: str) -> None:
        self.url = f"iscsi://{user}%{secret}@127.0.0.1:{port}/{iqn}/1"

    def enters(self) -> bool:
        """Whether the target lets it in."""
        done = subprocess.run(["iscsi-inq", self.url], capture_output=True, text=True, timeout=60, check=False)
        return done.returncode == 0 and "Peripheral" in done.stdout

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of its disk; both multiples of 512. Raises CalledProcessError."""
        command = ["qemu-io", "-f", "raw", "-c", f"read -v {offset} {length}", self.url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        return bytes.fromhex("".join(line[10:58] for line in done.stdout.splitlines() if line[8:10] == ": "))

    def write_bytes(self, offset: int, content: bytes) -> None:
        """Write exactly these bytes; a multiple of 512 of them."""
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            words = f"write -s {file.name} {offset} {len(content)}"
            subprocess.run(["qemu-io", "-f", "raw", "-c", words, self.url], capture_output=True, timeout=60, check=True)

    def write(self, offset: int, length: int, pattern: int) -> None:
        """Fill a piece of its disk with one byte."""
        command = ["qemu-io", "-f", "raw", "-c", f"write -P {pattern} {offset} {length}", self.url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        assert f"wrote {length}/{length}" in done.stdout, done.stdout + done.stderr

    @contextmanager
    def running(self) -> Iterator[None]:
        """A system that goes on reading from its disk."""
        words = [word for _ in range(200) for word in ("-c", "read 0 4096", "-c", "sleep 300")]
        process = subprocess.Popen(["stdbuf", "-oL", "qemu-io", "-f", "raw", *words, self.url], stdout=subprocess.PIPE)
        try:
            assert process.stdout is not None
            assert b"read 4096/4096" in process.stdout.readline()
            yield
        finally:
            process.kill()
            process.communicate()
