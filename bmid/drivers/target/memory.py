"""The memory twin of a target driver: targets in a dictionary, sessions made by the test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from bmid.drivers.base import Export, ExportStatus, Session, Target
from bmid.drivers.base.advice import ABSENT
from bmid.errors import PermanentError, TransientError

__all__ = ["MemoryTarget"]


@dataclass
class _Standing:
    export: Export
    open: bool = False
    sessions: list[Session] = field(default_factory=list)


class MemoryTarget(Target):
    """Thread-safe. `before` is called with each call's name and arguments, and may raise.

    `down` holds the shards that are out of reach; `log_in`, `move` and `restart` are the other side's doings.
    """

    def __init__(
        self, shards: Iterable[str] = ("0",), before: Callable[[str, tuple[Any, ...]], None] | None = None
    ) -> None:
        self.shards = tuple(shards)
        self.before = before
        self.down: set[str] = set()
        self._standing: dict[str, dict[int, _Standing]] = {shard: {} for shard in self.shards}
        self._sessions = 0
        self._lock = threading.RLock()

    def check(self, shard: str) -> str:
        self._called("check", shard)
        with self._reached(shard):
            return "memory"

    def portal(self, shard: str) -> tuple[str, int]:
        self._called("portal", shard)
        self._known(shard)
        return "127.0.0.1", 3260 + self.shards.index(shard)

    def create(self, shard: str, export: Export) -> None:
        self._called("create", shard, export)
        with self._reached(shard):
            standing = self._standing[shard]
            for number in [n for n, each in standing.items() if n == export.number or each.export.iqn == export.iqn]:
                del standing[number]
            standing[export.number] = _Standing(export)

    def admit(self, shard: str, export: Export) -> None:
        self._called("admit", shard, export)
        with self._reached(shard):
            standing = self._standing[shard].get(export.number)
            if standing is None or standing.export.iqn != export.iqn:
                raise TransientError(
                    "target-absent", f"target {export.number} isn't {export.iqn} (any more)", todo=ABSENT
                )
            standing.export = replace(export, backing=standing.export.backing, seed=standing.export.seed)
            standing.open = True

    def remove(self, shard: str, number: int, user: str) -> None:
        self._called("remove", shard, number, user)
        with self._reached(shard):
            self._standing[shard].pop(number, None)

    def status(self, shard: str, number: int) -> ExportStatus | None:
        self._called("status", shard, number)
        with self._reached(shard):
            standing = self._standing[shard].get(number)
            return _status(standing) if standing else None

    def exports(self, shard: str) -> tuple[ExportStatus, ...]:
        self._called("exports", shard)
        with self._reached(shard):
            return tuple(_status(each) for _, each in sorted(self._standing[shard].items()))

    def close(self) -> None:
        self._called("close")

    def log_in(
        self,
        shard: str,
        number: int,
        *,
        address: str,
        user: str,
        secret: str,
        initiator: str = "iqn.2000-01.test:i",
        alias: str | None = None,
    ) -> int:
        """An initiator logs in; its session's id. PermissionError where a real target would refuse it."""
        with self._lock:
            standing = self._standing[shard].get(number)
            if standing is None or not standing.open:
                raise PermissionError("no such target, or closed")
            export = standing.export
            if (address, user, secret) != (export.address, export.user, export.secret):
                raise PermissionError("wrong address, user or secret")
            self._sessions += 1
            standing.sessions.append(Session(self._sessions, initiator, address, 0, 0, alias))
            return self._sessions

    def move(self, shard: str, number: int, session: int, read: int = 0, written: int = 0) -> None:
        """A session reads and writes so many bytes more."""
        with self._lock:
            sessions = self._standing[shard][number].sessions
            sessions[:] = [
                replace(s, bytes_read=s.bytes_read + read, bytes_written=s.bytes_written + written)
                if s.id == session
                else s
                for s in sessions
            ]

    def log_out(self, shard: str, number: int, session: int) -> None:
        """A session ends, and its counters with it."""
        with self._lock:
            sessions = self._standing[shard][number].sessions
            sessions[:] = [s for s in sessions if s.id != session]

    def restart(self, shard: str) -> None:
        """The shard's daemon is killed and started again: every target is lost."""
        with self._lock:
            self._standing[shard].clear()

    def _called(self, name: str, *arguments: object) -> None:
        if self.before is not None:
            self.before(name, arguments)

    def _reached(self, shard: str) -> threading.RLock:
        self._known(shard)
        if shard in self.down:
            raise TransientError(
                "target-down",
                f"shard {shard} is down",
                todo="Look at this tgtd; its targets are put back when it answers.",
            )
        return self._lock

    def _known(self, shard: str) -> None:
        if shard not in self._standing:
            raise PermanentError(
                "shard-unknown",
                f"there is no target shard {shard!r} here",
                todo="Give this head a tgtd of that name in its settings.",
            )


def _status(standing: _Standing) -> ExportStatus:
    export = standing.export
    user, addresses = (export.user, (export.address,)) if standing.open else (None, ())
    seed = export.seed.path if export.seed else None
    sessions = tuple(standing.sessions)
    return ExportStatus(export.number, export.iqn, export.backing.path, user, addresses, sessions, seed)
