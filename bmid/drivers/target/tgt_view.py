"""What stands in a tgtd: its targets with their sessions, and a memory of what can't be asked for one alone.

Reads only, but for the stamp by which the memory is checked.
"""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass, replace

from bmid.drivers.base import ExportStatus, Session
from bmid.drivers.target.tgt_socket import Answer, Mode, Op, TgtSocket
from bmid.drivers.target.tgt_text import (
    parse_connections,
    parse_counters,
    parse_names,
    parse_stamp,
    parse_targets,
)

__all__ = ["TgtView"]

_GONE = (Answer.NO_TARGET,)


@dataclass(frozen=True)
class _Known:
    """What a target is (without sessions), as long as it carries this stamp."""

    stamp: int
    facts: ExportStatus


class TgtView:
    """The targets of one tgtd. Thread-safe.

    tgtd shows account, address and backing of a target only in the list of all. So what was learnt of a target is
    remembered together with a stamp: a number that every change puts into the target's `nop_count` (which means
    nothing while nop_interval is 0) and that can be read for one target alone. A target that was made anew or
    changed by another process has another stamp; then the list is read, once for all targets.
    """

    def __init__(self, socket: TgtSocket) -> None:
        self._socket = socket
        self._known: dict[int, _Known] = {}
        self._aliases: dict[int, dict[int, str | None]] = {}
        self._lock = threading.Lock()

    def names(self) -> dict[int, str]:
        """Number and IQN of every target."""
        return parse_names(self._socket.ask(Mode.LLD, Op.SHOW)[1])

    def exports(self) -> tuple[ExportStatus, ...]:
        """All targets with their sessions."""
        names = self.names()
        counters = parse_counters(self._socket.ask(Mode.SYSTEM, Op.STATS)[1])
        return parse_targets(self._socket.ask(Mode.TARGET, Op.SHOW)[1], names, counters)

    def status(self, number: int) -> ExportStatus | None:
        """One target with its sessions, None if it isn't there."""
        facts = self.facts(number)
        if facts is None:
            return None
        code, text = self._socket.ask(Mode.CONNECTION, Op.SHOW, number, accept=_GONE)
        if code == Answer.DONE and not text:
            return facts
        gone, stats = self._socket.ask(Mode.TARGET, Op.STATS, number, accept=_GONE)
        if Answer.NO_TARGET in (code, gone):
            return None
        sessions, _ = parse_connections(number, text, parse_counters(stats))
        return replace(facts, sessions=self._with_aliases(number, sessions))

    def _with_aliases(self, number: int, sessions: tuple[Session, ...]) -> tuple[Session, ...]:
        """An alias stands in the list of all only, and never changes: the list is read once for each log-in."""
        ids = {session.id for session in sessions}
        with self._lock:
            aliases = self._aliases.get(number, {})
        if not ids <= aliases.keys():
            listed = next((each.sessions for each in self.exports() if each.number == number), ())
            aliases = dict.fromkeys(ids) | {session.id: session.alias for session in listed}
        with self._lock:
            self._aliases[number] = {each: alias for each, alias in aliases.items() if each in ids}
        return tuple(replace(session, alias=aliases[session.id]) for session in sessions)

    def facts(self, number: int) -> ExportStatus | None:
        """One target without its sessions, None if it isn't there."""
        stamp = self._stamp(number)
        if stamp is None:
            self.forget(number)
            return None
        with self._lock:
            known = self._known.get(number)
        if known is not None and known.stamp == stamp:
            return known.facts
        return self._learn(number)

    def holders(self, user: str, besides: int) -> set[int]:
        """The targets that are remembered with this account, without the one given."""
        with self._lock:
            return {n for n, known in self._known.items() if n != besides and known.facts.user == user}

    def mark(self, number: int, facts: ExportStatus | None = None) -> None:
        """Put a new stamp on a target; with facts, they hold from now on, else nobody knows them."""
        self.forget(number)
        stamp = secrets.randbelow(2**31 - 1) + 1
        self._socket.ask(Mode.TARGET, Op.UPDATE, number, f"nop_count={stamp}")
        if facts is not None:
            with self._lock:
                self._known[number] = _Known(stamp, facts)

    def forget(self, number: int) -> None:
        """Remember nothing of this target."""
        with self._lock:
            self._known.pop(number, None)
            self._aliases.pop(number, None)

    def _stamp(self, number: int) -> int | None:
        code, text = self._socket.ask(Mode.TARGET, Op.SHOW, number, accept=_GONE)
        return None if code == Answer.NO_TARGET else parse_stamp(text)

    def _learn(self, number: int) -> ExportStatus | None:
        # Stamps before facts: whatever changes in between gets a stamp that isn't the one remembered here.
        stamps = {each: self._stamp(each) for each in self.names()}
        found = {each.number: replace(each, sessions=()) for each in self.exports()}
        with self._lock:
            for each, facts in found.items():
                if stamp := stamps.get(each):  # 0 is a target that we haven't finished
                    self._known[each] = _Known(stamp, facts)
        return found.get(number)
