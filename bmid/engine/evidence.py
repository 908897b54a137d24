"""What the sessions at a target tell about a boot. Pure.

Firmware, initramfs and operating system log in one after the other under the same initiator name. iPXE sends no
alias and does not write; open-iscsi sends the host name; iscsid takes the initramfs's session over by logging in
anew. Gaps of seconds without any session are normal, and so are two sessions side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from bmid.drivers.base import Session
from bmid.model.entity import BootStage

__all__ = ["Sighting", "Watch"]

SETTLED = 0.4  # seconds for which a written-to disk must go on being read
# A root that stays read-only for good never writes. A system that is starting doesn't either, for some seconds (10 s
# in a slow virtual machine), and reads a lot meanwhile: only its age tells them apart.
READ_ONLY = 60.0  # seconds for which a session without a write must go on reading
MUCH = 4 << 20  # bytes that it must have read by then
POLLS = 5  # looks at which it must have read more than before


@dataclass(frozen=True)
class Sighting:
    """A stage that was seen for the first time, and what showed it."""

    stage: BootStage
    why: str


@dataclass
class _Seen:
    since: float
    moved: int = 0
    read: int = 0
    wrote_at: float | None = None
    read_then: int = 0


@dataclass
class Watch:
    """The sessions of one boot as they were seen so far. `base`: ids up to it are of before the power-on."""

    base: int
    stage: BootStage = BootStage.WAITING
    bytes_read: int = 0
    _seen: dict[int, _Seen] = field(default_factory=dict)

    def look(self, sessions: Sequence[Session], address: str, now: float) -> list[Sighting]:
        """What is new. `now` is any clock in seconds that only rises."""
        found: list[Sighting] = []
        mine = [one for one in sessions if one.id > self.base and one.address == address]
        self.bytes_read = max(self.bytes_read, sum(one.bytes_read for one in mine))
        systems = [one for one in mine if one.alias is not None or one.bytes_written > 0]
        if mine and self.stage is BootStage.WAITING:
            self._reach(BootStage.FIRMWARE, "the firmware has logged in", found)
        if systems and self.stage is BootStage.FIRMWARE:
            self._reach(BootStage.INITRAMFS, "the initramfs has logged in", found)
        for one in systems:
            why = self._alive(one, now)
            if why and self.stage is not BootStage.BOOTED:
                self._reach(BootStage.BOOTED, why, found)
        return found

    def _reach(self, stage: BootStage, why: str, found: list[Sighting]) -> None:
        self.stage = stage
        found.append(Sighting(stage, why))

    def _alive(self, one: Session, now: float) -> str | None:
        earlier = any(number < one.id for number in self._seen)
        seen = self._seen.setdefault(one.id, _Seen(now))
        seen.moved += one.bytes_read > seen.read
        seen.read = one.bytes_read
        if earlier and one.bytes_read > 0:
            return "the system has taken the session over and reads"
        if one.bytes_written > 0 and seen.wrote_at is None:
            seen.wrote_at, seen.read_then = now, one.bytes_read
        if seen.wrote_at is not None and now - seen.wrote_at >= SETTLED and one.bytes_read > seen.read_then:
            return "the system writes its disk and goes on reading"
        if now - seen.since >= READ_ONLY and one.bytes_read > MUCH and seen.moved >= POLLS:
            return "the system reads on, without writing"
        return None
