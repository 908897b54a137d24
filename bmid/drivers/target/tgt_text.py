"""What tgtd shows, as text, and the values in it. Pure; whatever isn't as expected is `target-garbled`.

Sessions carry text that an initiator chose (its name and alias), line breaks and all. So a target begins only
where a number and a name stand that `show lld` (which has no such text) lists too, and of a section that comes
twice the last counts: tgtd writes LUNs, accounts and addresses after the sessions.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from bmid.drivers.base import ExportStatus, Session
from bmid.drivers.base.advice import GARBLED
from bmid.errors import TransientError

__all__ = ["parse_accounts", "parse_connections", "parse_counters", "parse_names", "parse_stamp", "parse_targets"]

_TARGET = re.compile(r"Target ([0-9]{1,10}): (\S+)$")
_NAME = re.compile(r" {8}Target ([0-9]{1,10}): (\S+)$")
_NEXUS = re.compile(r" {8}I_T nexus: ([0-9]{1,20})$")
_INITIATOR = re.compile(r" +Initiator: (.*?)(?: alias: (.*))?$")
_ADDRESS = re.compile(r" +IP Address: (\S+)$")
_LUN = re.compile(r" {8}LUN: ([0-9]{1,20})$")
_BACKING = re.compile(r" {12}Backing store path: (.+)$")
_SECTION = re.compile(r" {4}(\S.*) information:$")
_SESSION = re.compile(r"Session: ([0-9]{1,20})$")
_CONNECTION = re.compile(r" {4}Connection: ([0-9]{1,10})$")
_NUMBER = re.compile(r"[0-9]{1,20}$")
_STAMP = re.compile(r"^nop_count=([0-9]{1,10})$", re.MULTILINE)

Counters = Mapping[tuple[int, int], tuple[int, int]]


@dataclass
class _Draft:
    """A target while its lines come in."""

    number: int
    iqn: str
    backings: list[str] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    section: str = ""
    lun: int = 0

    def done(self, counters: Counters) -> ExportStatus:
        sessions = (_counted(self.number, session, counters) for session in self.sessions)
        user = self.users[0] if self.users else None
        backing, seed = [*self.backings, "", ""][:2]
        return ExportStatus(self.number, self.iqn, backing, user, tuple(self.addresses), tuple(sessions), seed or None)


def parse_targets(text: str, names: Mapping[int, str], counters: Counters) -> tuple[ExportStatus, ...]:
    """All targets of `show target`; `names` from `parse_names`, byte counts from `parse_counters`."""
    drafts: dict[int, _Draft] = {}
    draft: _Draft | None = None
    for place, line in enumerate(_lines(text)):
        head = _TARGET.match(line)
        if head and names.get(int(head[1])) == head[2]:
            number = int(head[1])
            draft = drafts[number] = drafts.get(number) or _Draft(number, head[2])
        elif head:
            draft = None  # one that came after the names were asked for, or one that an initiator made up
        elif draft is not None:
            _take(draft, line)
        elif place == 0:
            raise _garbled("it doesn't begin with a target")
    return tuple(each.done(counters) for each in drafts.values())


def _take(draft: _Draft, line: str) -> None:
    if section := _SECTION.match(line):
        _begin(draft, section[1])
    elif draft.section == "I_T nexus":
        if nexus := _NEXUS.match(line):
            draft.sessions.append(Session(int(nexus[1]), "", "", 0, 0))
        elif draft.sessions:
            draft.sessions[-1] = _described(draft.sessions[-1], line)
    elif draft.section == "LUN":
        if lun := _LUN.match(line):
            draft.lun = int(lun[1])
        elif draft.lun and (backing := _BACKING.match(line)):
            draft.backings.append(backing[1])
    elif draft.section == "Account" and line.strip() and not line.endswith(" (outgoing)"):
        draft.users.append(line.strip())
    elif draft.section == "ACL" and line.strip():
        draft.addresses.append(line.strip())


def _begin(draft: _Draft, section: str) -> None:
    draft.section = section
    if section == "LUN":
        draft.lun = 0
        draft.backings.clear()
    elif section == "Account":
        draft.users.clear()
    elif section == "ACL":
        draft.addresses.clear()


def _described(session: Session, line: str) -> Session:
    # The first line of each kind counts: tgtd writes name and address before whatever the initiator may imitate.
    if not session.initiator and (initiator := _INITIATOR.match(line)):
        # tgtd writes "none" for an initiator that sent no alias; the list of connections doesn't show it at all.
        alias = initiator[2] if initiator[2] != "none" else None
        return replace(session, initiator=initiator[1], alias=alias)
    if not session.address and (address := _ADDRESS.match(line)):
        return replace(session, address=_address(address[1]))
    return session


def parse_connections(
    number: int, text: str, counters: Counters
) -> tuple[tuple[Session, ...], tuple[tuple[int, int], ...]]:
    """The sessions of one target, and all its connections as (session, connection)."""
    sessions: dict[int, Session] = {}
    connections: list[tuple[int, int]] = []
    current: int | None = None
    for line in _lines(text):
        if head := _SESSION.match(line):
            current = int(head[1])
            sessions.setdefault(current, _counted(number, Session(current, "", "", 0, 0), counters))
        elif current is None:
            raise _garbled("a connection without a session")
        elif connection := _CONNECTION.match(line):
            connections.append((current, int(connection[1])))
        else:
            sessions[current] = _described(sessions[current], line)
    return tuple(sessions.values()), tuple(connections)


def parse_counters(text: str) -> Counters:
    """(target, session) → (bytes read, bytes written), over all LUNs, of `stats`."""
    found: dict[tuple[int, int], tuple[int, int]] = {}
    for line in _lines(text):
        if line.startswith("tgt "):
            continue
        columns = line.split()
        # target, LUN, session, then bytes and commands: reads asked, reads done, writes asked, writes done
        if len(columns) != 12 or not all(_NUMBER.match(column) for column in columns):
            raise _garbled("a line of counters has another form")
        key = int(columns[0]), int(columns[2])
        read, written = found.get(key, (0, 0))
        found[key] = read + int(columns[5]), written + int(columns[9])
    return found


def parse_stamp(text: str) -> int:
    """The `nop_count` among a target's parameters."""
    stamp = _STAMP.search(text)
    if stamp is None:
        raise _garbled("a target's parameters lack nop_count")
    return int(stamp[1])


def parse_names(text: str) -> dict[int, str]:
    """Number and name of every target, of `show lld`."""
    return {int(name[1]): name[2] for line in _lines(text) if (name := _NAME.match(line))}


def parse_accounts(text: str) -> tuple[str, ...]:
    """The accounts, of `show account`."""
    return tuple(line.strip() for line in _lines(text) if line.startswith("    "))


def _counted(number: int, session: Session, counters: Counters) -> Session:
    read, written = counters.get((number, session.id), (0, 0))
    return replace(session, bytes_read=read, bytes_written=written)


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        raise _garbled("a session has no IP address") from None


def _lines(text: str) -> Iterator[str]:
    # Not splitlines(): an initiator's name may hold any of the dozen characters that it splits at.
    return (line for line in text.split("\n") if line)


def _garbled(what: str) -> TransientError:
    return TransientError(
        "target-garbled",
        f"tgtd's answer can't be read: {what}",
        todo=GARBLED,
    )
