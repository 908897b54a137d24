"""What tgtd shows, as values: the known form is read, and nothing else raises more than `target-garbled`."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmid.drivers.base import Session
from bmid.drivers.target.tgt_text import (
    parse_accounts,
    parse_connections,
    parse_counters,
    parse_names,
    parse_stamp,
    parse_targets,
)
from bmid.errors import TransientError

HEAD = "tgt lun sid rd_subm(bytes,cmds) rd_done(bytes,cmds) wr_subm(bytes,cmds) wr_done(bytes,cmds) errs\n"
STATS = HEAD + "  7   0   1   0  0   0  0   0  0   0  0   0\n  7   1   1   4845  10  4844  10  8192  1  8191  1   1\n"
CONNECTIONS = """\
Session: 1
    Connection: 0
        Initiator: iqn.2008-11.org.linux-kvm
        IP Address: 10.77.0.11
"""
NAMES = "LLDs:\n    iscsi: ready\n        Target 7: iqn.a\n        Target 8: iqn.b\n    iser: error\n"
TARGETS = """\
Target 7: iqn.a
    System information:
        Driver: iscsi
        State: ready
    I_T nexus information:
        I_T nexus: 1
            Initiator: iqn.2008-11.org.linux-kvm alias: none
            Connection: 0
                IP Address: 10.77.0.11
    LUN information:
        LUN: 0
            Type: controller
            Backing store path: None
        LUN: 1
            Type: disk
            Backing store path: pool/disk
            Backing store flags: 
    Account information:
        user7
        other (outgoing)
    ACL information:
        10.77.0.11
Target 8: iqn.b
    System information:
        Driver: iscsi
        State: ready
    I_T nexus information:
    LUN information:
        LUN: 0
            Type: controller
            Backing store path: None
    Account information:
    ACL information:
"""  # noqa: W291 - tgtd's own


def test_targets_are_read_with_their_sessions_and_bytes() -> None:
    seven, eight = parse_targets(TARGETS, parse_names(NAMES), parse_counters(STATS))
    assert (seven.number, seven.iqn, seven.backing) == (7, "iqn.a", "pool/disk")
    assert (seven.user, seven.addresses, seven.open) == ("user7", ("10.77.0.11",), True)
    assert seven.sessions == (Session(1, "iqn.2008-11.org.linux-kvm", "10.77.0.11", 4844, 8191),)
    assert (eight.number, eight.backing, eight.open, eight.sessions) == (8, "", False, ())


def test_the_alias_is_what_the_initiator_calls_itself() -> None:
    aliased = TARGETS.replace("alias: none", "alias: n1")
    seven, _ = parse_targets(aliased, parse_names(NAMES), {})
    assert seven.sessions[0].alias == "n1"
    seven, _ = parse_targets(TARGETS, parse_names(NAMES), {})
    assert seven.sessions[0].alias is None


def test_connections_are_read_as_the_same_session() -> None:
    sessions, connections = parse_connections(7, CONNECTIONS, parse_counters(STATS))
    assert sessions == (Session(1, "iqn.2008-11.org.linux-kvm", "10.77.0.11", 4844, 8191),)
    assert connections == ((1, 0),)


def test_a_target_that_is_not_among_the_names_is_left_out_and_taints_no_other() -> None:
    (seven,) = parse_targets(TARGETS, {7: "iqn.a"}, {})
    assert (seven.user, seven.addresses) == ("user7", ("10.77.0.11",))


def test_accounts_and_stamps_are_read() -> None:
    assert parse_accounts("Account list:\n    a\n    b\n") == ("a", "b")
    assert parse_stamp("nop_interval=0\nnop_count=12\nMaxRecv=1\n") == 12


PARSERS: dict[str, Callable[[str], object]] = {
    "targets": lambda text: parse_targets(text, {7: "iqn.a", 8: "iqn.b"}, {}),
    "connections": lambda text: parse_connections(7, text, {}),
    "counters": parse_counters,
    "stamp": parse_stamp,
    "names": parse_names,
    "accounts": parse_accounts,
}

_LINES = [line + "\n" for text in (TARGETS, CONNECTIONS, STATS, NAMES) for line in text.splitlines()]
_MIXED = st.lists(st.sampled_from(_LINES) | st.text(max_size=30), max_size=40).map("".join)


@pytest.mark.parametrize("parser", PARSERS)
@given(text=_MIXED | st.text() | st.binary().map(lambda data: data.decode(errors="replace")))
def test_garbage_is_garbled_and_nothing_worse(parser: str, text: str) -> None:
    assert _problem(lambda: PARSERS[parser](text)) in {None, "target-garbled"}


@given(data=st.data())
def test_a_text_with_characters_changed_is_read_or_garbled(data: st.DataObject) -> None:
    text = list(TARGETS)
    for _ in range(data.draw(st.integers(0, 8))):
        place = data.draw(st.integers(0, len(text) - 1))
        text[place] = data.draw(st.characters())
    assert _problem(lambda: parse_targets("".join(text), parse_names(NAMES), {})) in {None, "target-garbled"}


def _problem(read: Callable[[], object]) -> str | None:
    try:
        read()
    except TransientError as error:
        return error.problem.slug
    return None
