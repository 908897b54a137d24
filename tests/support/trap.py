"""Sets a trap for a real bmid: it kills itself with SIGKILL at a driver call of one command, and is started again."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

from lab.bmid import Bmid
from lab.process import Process, wait_for

__all__ = ["WAYS", "Trap"]

WAYS = ("before", "within", "after")


class Trap:
    """Makes a bmid, which doesn't run yet, one that can be killed at a certain call."""

    def __init__(self, bmid: Bmid) -> None:
        self._bmid = bmid
        self._file = bmid.folder / "trap"
        self._seen = bmid.folder / "trap.seen"
        self._numbers = itertools.count()
        program = Path(__file__).with_name("doomed.py")
        words: list[str | Path] = [sys.executable, "-P", program, self._file, "--config", bmid.config, "run"]
        bmid.process = Process("bmid", bmid.folder, words)

    def set(self, kind: str, number: int = -1, way: str = "before") -> None:
        """Die at that call of a command of this type; -1: only write down all of its calls."""
        self._seen.unlink(missing_ok=True)
        text = f"{kind} {number} {way} {next(self._numbers)}"  # no two are alike, so that each is counted anew
        fresh = self._file.with_name("trap.new")
        fresh.write_text(text)
        fresh.replace(self._file)

    @property
    def seen(self) -> list[str]:
        """The calls since it was set."""
        return self._seen.read_text().split() if self._seen.exists() else []

    def sprung(self, seconds: float = 30) -> str:
        """Wait for the death, and start it again; the call at which it died."""
        wait_for(lambda: not self._bmid.process.alive(), seconds, "its death")
        self._file.unlink()
        call = self.seen[-1]
        self._bmid.process.start()
        return call
