"""One log-in at a target, by QEMU's qemu-io through libiscsi: it logs in again by itself and sends again what was not
answered, as a node's system does. What is written is not decided here."""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from pathlib import Path

__all__ = ["Broken", "Initiator", "Stalled"]

PROMPT = b"qemu-io> "


class Broken(Exception):
    """It was told that it can't be done, or it has ended."""


class Stalled(Exception):
    """There was no answer in time; it may still come."""


class Initiator:
    """One process, used by one thread; `kill` may come from any."""

    def __init__(self, folder: Path, url: str) -> None:
        self._file = folder / "block"
        theirs_in, self._in = os.pipe()
        self._out, theirs_out = os.pipe()
        self._process = subprocess.Popen(
            ["stdbuf", "-oL", "qemu-io"], stdin=theirs_in, stdout=theirs_out, stderr=theirs_out, start_new_session=True
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._out, selectors.EVENT_READ)
        self._heard = b""
        self._url = url

    def open(self, seconds: float) -> None:
        """Log in. The address, which holds the secret, goes by standard input. Raises Broken or Stalled."""
        self.ask("", seconds)
        said = self.ask(f"open {self._url}", seconds)
        if "can't open" in said:
            raise Broken(said.strip()[-200:])

    def write(self, offset: int, data: bytes, seconds: float) -> None:
        """Write, and have it on disk. Broken: it was told that it failed. Stalled: `resume` goes on waiting."""
        self._file.write_bytes(data)
        self._send(f"write -f -s {self._file} {offset} {len(data)}")
        self.resume(len(data), seconds)

    def resume(self, size: int, seconds: float) -> None:
        """Wait on for the answer to a write."""
        said = self._hear(seconds)
        if f"wrote {size}/{size} bytes" not in said or "failed" in said:
            raise Broken(said.strip()[-200:])

    def read(self, offset: int, size: int, seconds: float) -> bytes:
        """Bytes; Broken or Stalled."""
        said = self.ask(f"read -v {offset} {size}", seconds)
        if f"read {size}/{size} bytes" not in said:
            raise Broken(said.strip()[-200:])
        return bytes.fromhex("".join(line[10:58] for line in said.splitlines() if line[8:10] == ": "))

    def ask(self, command: str, seconds: float) -> str:
        """What it says to a command; none: to having been started."""
        self._send(command)
        return self._hear(seconds)

    def _send(self, text: str) -> None:
        """One command at a time: of two lines it would read the second only when a third one comes."""
        self._heard = b""
        if not text:
            return
        try:
            os.write(self._in, f"{text}\n".encode())
        except OSError as error:
            raise Broken("it has ended") from error

    def _hear(self, seconds: float) -> str:
        last = time.monotonic() + seconds
        while PROMPT not in self._heard:
            left = last - time.monotonic()
            if left <= 0:
                raise Stalled("no answer")
            if not self._selector.select(min(left, 1.0)):
                continue
            data = os.read(self._out, 1 << 16)
            if not data:
                raise Broken("it has ended")
            self._heard += data
        return self._heard.decode(errors="replace")

    def kill(self) -> None:
        """As if the plug were pulled; quiet if it has ended."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """Kill it, and let go of everything."""
        self.kill()
        self._selector.close()
        os.close(self._in)
        os.close(self._out)
