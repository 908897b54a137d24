"""Systems that have their disks open while something happens to what is behind them."""

from __future__ import annotations

import subprocess

from tests.support.initiator import Initiator

__all__ = ["Running"]


class Running:
    """A system that has its disk open: one initiator, whose session lives as long as it does."""

    def __init__(self, initiator: Initiator, pattern: int) -> None:
        self._pattern = pattern
        self._process = subprocess.Popen(
            ["qemu-io", "-f", "raw", initiator.url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
        )

    def do(self, words: str, answer: str) -> None:
        """Give it a command, and read on until the answer comes."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(words + "\n")
        self._process.stdin.flush()
        said = []
        while answer not in (said or [""])[-1]:
            line = self._process.stdout.readline()
            assert line, said
            assert "error" not in line.lower(), line
            assert "fail" not in line.lower(), line
            said.append(line)

    def write(self) -> None:
        """Fill a piece of the disk."""
        self.do(f"write -P {self._pattern} 1M 64k", "wrote 65536/65536")

    def read(self) -> None:
        """Find the piece as it was written, and write on."""
        self.do(f"read -P {self._pattern} 1M 64k", "read 65536/65536")
        self.do(f"write -P {self._pattern} 2M 64k", "wrote 65536/65536")

    def end(self) -> None:
        self._process.kill()
        self._process.wait(60)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
