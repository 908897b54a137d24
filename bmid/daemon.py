"""Threads: the only place that makes them, and the only place that sleeps.

Every component is an object with a turn; here the turns get their threads, their pauses and their back-off, start
in one order and stop in the other: first nothing new comes in, then running turns end, then what they wrote goes out.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from bmid.errors import BmiError
from bmid.systemd import notify

__all__ = ["Bell", "Daemon", "Loop", "trim"]

log = structlog.get_logger(__name__)
MAX_PAUSE = 10.0
LAST_TURNS = 20  # of one that finishes: other heads go on writing, and it isn't to work for them for ever
M_ARENA_MAX = -8  # malloc.h
PR_SET_NAME = 15  # prctl(2)


def trim() -> None:
    """Settings of the process: many threads that mostly wait, and one that has come back from a call goes on soon.

    glibc gives each thread an arena of its own otherwise, up to eight for each core, and keeps what was freed there.
    """
    sys.setswitchinterval(0.001)
    gc.collect()
    gc.freeze()
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(M_ARENA_MAX, 2)
        library.malloc_trim(0)


def _name_thread(name: str) -> None:
    """What `top -H` and `ps -L` show; at most 15 characters count."""
    with suppress(AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_NAME, name.encode()[:15], 0, 0, 0)


class Bell:
    """Wakes those who wait for work."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._rings = 0

    def ring(self, *, all_of_them: bool = False) -> None:
        """There is something to do: one of those who wait goes and looks, or all do."""
        with self._condition:
            self._rings += 1
            if all_of_them:
                self._condition.notify_all()
            else:
                self._condition.notify()

    def count(self) -> int:
        """How often it rang so far."""
        return self._rings

    def wait(self, heard: int, timeout: float) -> int:
        """Until it has rung more often than `heard`, or `timeout` seconds; how often it rang so far."""
        with self._condition:
            self._condition.wait_for(lambda: self._rings != heard, timeout)
            return self._rings


@dataclass
class Loop:
    """One thread that takes turns. `turn` returns the seconds until the next one; a bell cuts them short.

    `stage` says when it stops: 0 takes work in, 1 does it, 2 tells of it. `gap` (seconds) is kept after a turn that
    found something to do, so that the next one finds more of it at once. `finishes`: what there is to do when it is
    told to end, it does before that.
    """

    name: str
    turn: Callable[[], float]
    stage: int
    bell: Bell | None = None
    close: Callable[[], None] = lambda: None
    gap: float = 0.0
    finishes: bool = False
    stopping: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None
    failures: int = 0
    beat: float = 0.0

    def run(self) -> None:
        """Turns until it is stopped; an error is logged, and the next turn comes later each time."""
        _name_thread(self.name)
        while not self.stopping.is_set():
            heard = self.bell.count() if self.bell else 0
            pause = self._turn()
            if pause <= 0:
                if self.gap:
                    self.stopping.wait(self.gap)
                continue
            if self.stopping.is_set():  # which may have been rung for before this turn listened
                break
            if self.bell is not None and not self.failures:
                self.bell.wait(heard, pause)
            else:
                self.stopping.wait(pause)
        for _ in range(LAST_TURNS if self.finishes else 0):
            if self._turn() > 0:
                break
        self.close()

    def _turn(self) -> float:
        self.beat = time.monotonic()
        try:
            pause = self.turn()
        except BmiError as error:
            return self._failed(str(error), None)
        except Exception as error:
            return self._failed(f"unexpected {type(error).__name__}", error)
        self.failures = 0
        return pause

    def _failed(self, detail: str, error: Exception | None) -> float:
        self.failures += 1
        pause = min(0.5 * 2.0 ** (self.failures - 1), MAX_PAUSE)
        if self.failures in (1, 5) or self.failures % 30 == 0:
            log.warning("loop.failed", loop=self.name, detail=detail, failures=self.failures, exc_info=error)
        return pause


class Daemon:
    """Runs loops until a signal says stop."""

    def __init__(
        self,
        loops: Sequence[Loop],
        bells: Sequence[Bell],
        drain: float,
        status: Callable[[], str],
        alive: Callable[[], bool],
    ) -> None:
        self._loops = loops
        self._bells = bells
        self._drain = drain
        self._status = status
        self._alive = alive
        self._stop = threading.Event()

    def run(self) -> None:
        """Blocks until SIGTERM or SIGINT, then drains."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop.set())
        for loop in self._loops:
            loop.thread = threading.Thread(target=loop.run, name=loop.name, daemon=True)
            loop.thread.start()
        log.info("daemon.started", loops=len(self._loops), pid=os.getpid())
        notify(READY="1", STATUS=self._status())
        while not self._stop.wait(5.0):
            if self._alive():
                notify(WATCHDOG="1", STATUS=self._status())
        self._shut_down()

    def stop(self) -> None:
        """As SIGTERM."""
        self._stop.set()

    def _shut_down(self) -> None:
        notify(STOPPING="1")
        log.info("daemon.stopping")
        deadline = time.monotonic() + self._drain
        for stage in sorted({loop.stage for loop in self._loops}):
            leaving = [loop for loop in self._loops if loop.stage == stage]
            for loop in leaving:
                loop.stopping.set()
            for bell in self._bells:
                bell.ring(all_of_them=True)
            for loop in leaving:
                if loop.thread is not None:
                    loop.thread.join(max(deadline - time.monotonic(), 0.5))
        left = [loop.name for loop in self._loops if loop.thread and loop.thread.is_alive()]
        log.info("daemon.stopped", left_running=left)
