"""Systems that write all the time, and know what they were told: each block holds who wrote it, where, and when.

They do what a node's kernel does: where nothing is answered they log in again, and send again what wasn't answered.
"""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable

from tests.support.iscsi import Door, Failed, Lost, Session, enter

__all__ = ["SIZE", "Writer", "content"]

SIZE = 4096
SLOTS = 64
FIRST = 1 << 21  # bytes; what lies before is the image's
GAP = 0.02
PATIENCE = 2.0
MAGIC = b"BMI-WRITER"


def content(name: str, slot: int, number: int) -> bytes:
    """A block; the same from its beginning to its end."""
    one = struct.pack(">10s16sIQ", MAGIC, name.encode(), slot, number)
    return (one * (SIZE // len(one) + 1))[:SIZE]


class Writer:
    """One system, in a thread of its own. `idle`: it is logged in and only reads, until `wake`."""

    def __init__(self, name: str, namespace: str, door: Door, *, idle: bool = False) -> None:
        self.name = name
        self.door = door
        self.told: dict[int, int] = {}  # slot: the last number that it was told is on disk
        self.errors: list[str] = []
        self.logins = 0
        self.longest = 0.0
        self.answered = time.monotonic()
        self._namespace = namespace
        self._idle = threading.Event()
        if not idle:
            self._idle.set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._live, name=f"writer-{name}", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Write from now on."""
        self._idle.set()

    def stop(self) -> None:
        """End after the next answer."""
        self._ended.set()
        self._thread.join(60)

    @property
    def number(self) -> int:
        """The number of the last write that was answered."""
        return max(self.told.values(), default=0)

    def wrong(self, read: Callable[[int, int], bytes]) -> list[str]:
        """Blocks that are not as it was told they are; `read(offset, length)` reads the disk by another way."""
        found = []
        for slot, number in self.told.items():
            there = read(FIRST + slot * SIZE, SIZE)
            if there != content(self.name, slot, number):
                shown = struct.unpack(">10s16sIQ", there[:38])
                found.append(f"{self.name} slot {slot}: was told {number}, there is {shown}")
        return found

    def _live(self) -> None:
        enter(self._namespace)
        session: Session | None = None
        number = 0
        while not self._ended.is_set():
            number += 1
            session = self._do(session, number)
            gap = time.monotonic() - self.answered
            self.longest, self.answered = max(self.longest, gap), time.monotonic()
            self._ended.wait(GAP)
        if session is not None:
            session.close()

    def _do(self, session: Session | None, number: int) -> Session | None:
        """One write, until it is answered; over as many sessions as that takes."""
        while not (self._ended.is_set() and session is None):
            try:
                if session is None:
                    session = Session(self.door, PATIENCE)
                    self.logins += 1
                self._act(session, number)
                return session
            except Lost:
                session = session.close() if session else None
                time.sleep(0.1)
            except Failed as error:
                self.errors.append(f"{time.monotonic():.1f} {error}")
                session = session.close() if session else None
                time.sleep(0.1)
        return None

    def _act(self, session: Session, number: int) -> None:
        if self._idle.is_set():
            slot = number % SLOTS
            session.write(FIRST + slot * SIZE, content(self.name, slot, number))
            self.told[slot] = number
        else:
            session.read(0, SIZE)
