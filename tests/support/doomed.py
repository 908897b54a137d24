"""A program: bmid, with a trap in it. It kills itself with SIGKILL at the driver call that a file names.

    python -P doomed.py TRAP --config bmid.toml run

TRAP holds a line: the type of a command, the number of a driver call of it from 0, and `before`, `within` or `after`.
Without such a file nothing happens; each new one is counted from its own beginning. All calls that were counted stand
in TRAP.seen. Who writes the file and starts bmid again is the business of trap.py.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bmid.cli.main import main
from bmid.drivers.loader import PASSIVE
from bmid.engine.identity import Ports
from bmid.engine.turn import Turn
from bmid.steps.base import World

KINDS = ("storage", "target", "boot", "imaging", "seeds")
WITHIN = 0.003  # seconds after its beginning that a call is cut off


def die() -> None:
    """kill -9, of this process by itself."""
    os.kill(os.getpid(), signal.SIGKILL)


class Trap:
    """What the file says, looked at before each call."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seen = file.with_name(f"{file.name}.seen")
        self._lock = threading.Lock()
        self._text = ""
        self._count = 0

    def way(self, kind: str, call: str) -> str | None:
        """How to die at this call; None: live on."""
        with self._lock:
            text = self._file.read_text() if self._file.exists() else ""
            if text != self._text:
                self._text, self._count = text, 0
            wanted, number, way = text.split()[:3] if text else ("", "-1", "")
            if kind != wanted:
                return None
            with self._seen.open("a") as seen:
                seen.write(f"{call}\n")
            self._count += 1
            return way if self._count - 1 == int(number) else None


class Port:
    """Stands before a driver of one turn."""

    def __init__(self, name: str, port: Any, kind: str, trap: Trap) -> None:
        self._about = name, kind, trap
        self._port = port

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._port, name)
        if name in PASSIVE or not callable(member):
            return member
        port, kind, trap = self._about

        def call(*arguments: Any, **options: Any) -> Any:
            way = trap.way(kind, f"{port}.{name}")
            if way == "before":
                die()
            if way == "within":
                threading.Timer(WITHIN, die).start()
            result = member(*arguments, **options)
            if way == "after":
                die()
            if way == "within":
                time.sleep(60)
            return result

        return call


def doom(trap: Trap) -> None:
    """From here on the drivers of every turn go by the trap."""
    usual = Ports.world

    def world(self: Ports, turn: Turn) -> World:
        made = usual(self, turn)
        trapped: Mapping[str, Any] = {name: Port(name, getattr(made, name), turn.record.type, trap) for name in KINDS}
        return replace(made, **trapped)

    Ports.world = world  # type: ignore[method-assign]


if __name__ == "__main__":
    doom(Trap(Path(sys.argv[1])))
    main(sys.argv[2:], prog_name="bmid")
