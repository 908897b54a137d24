"""What is asked of tgtd, in which order, seen by a socket that answers like it.

The order keeps strangers out, in moments that real initiators meet too rarely to show it.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bmid.drivers.base import Backing, Export
from bmid.drivers.target.tgt import TgtShard, TgtTarget
from bmid.drivers.target.tgt_socket import Answer, Mode, Op
from bmid.errors import BmiError, TransientError

EXPORT = Export(1, "iqn.a", Backing("rdwr", "/disk"), "10.77.0.11", "user1", "ABCDEFGHIJKLMNOP")
CONNECTION = "Session: 4\n    Connection: 0\n        Initiator: iqn.i\n        IP Address: 10.77.0.11\n"
LISTED = """\
Target 1: iqn.a
    I_T nexus information:
        I_T nexus: 4
            Initiator: iqn.i alias: n1
    Account information:
        user1
    ACL information:
        10.77.0.11
"""

Asked = tuple[Mode, Op, int, str]  # of what, what, target, parameters


def reply(text: str = "", code: int = 0) -> bytes:
    """An answer in tgtd's form."""
    body = text.encode() + b"\0" if text else b""
    return struct.pack("=II", code, 8 + len(body)) + body


class Standing:
    """Answers like a tgtd with target 1, which user1 at 10.77.0.11 has entered."""

    def __init__(self, deletions_refused: int = 0) -> None:
        self.stamp = 5
        self.gone = False
        self.deletions_refused = deletions_refused

    def __call__(self, asked: Asked) -> bytes:
        mode, op, number, text = asked
        if number >= 0 and self.gone:
            return reply(code=Answer.NO_TARGET)
        if (mode, op) == (Mode.TARGET, Op.DELETE):
            self.deletions_refused -= 1
            if self.deletions_refused >= 0:
                return reply(code=Answer.LUN_ACTIVE)
            self.gone = True
        if text.startswith("nop_count="):
            self.stamp = int(text.partition("=")[2])
        texts = {
            (Mode.TARGET, Op.SHOW): f"nop_count={self.stamp}\n" if number >= 0 else LISTED,
            (Mode.LLD, Op.SHOW): "LLDs:\n    iscsi: ready\n        Target 1: iqn.a\n",
            (Mode.CONNECTION, Op.SHOW): CONNECTION,
            (Mode.ACCOUNT, Op.SHOW): "Account list:\n    user1\n",
        }
        return reply(texts.get((mode, op), ""))


class FakeTgtd:
    """Keeps what it is asked, and answers what `answer` says."""

    def __init__(self, path: Path, answer: Callable[[Asked], bytes], stack: ExitStack) -> None:
        self.asked: list[Asked] = []
        self.answer = answer
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(32)
        thread = threading.Thread(target=self._serve, daemon=True)
        thread.start()
        stack.callback(thread.join, 5)
        stack.callback(self._listener.close)
        stack.callback(self._listener.shutdown, socket.SHUT_RDWR)
        self.target = TgtTarget({"0": TgtShard(path, "127.0.0.1")}, timeout=30)

    @property
    def changes(self) -> list[Asked]:
        """What was asked but looks."""
        return [asked for asked in self.asked if asked[1] not in {Op.SHOW, Op.STATS}]

    def _serve(self) -> None:
        while True:
            try:
                link, _ = self._listener.accept()
            except OSError:
                return
            with link:
                head = link.recv(120, socket.MSG_WAITALL)
                mode, op = struct.unpack_from("=II", head)
                length, number = struct.unpack_from("=Ii", head, 72)
                body = link.recv(length - 120, socket.MSG_WAITALL) if length > 120 else b""
                asked = Mode(mode), Op(op), number, body.rstrip(b"\0").decode()
                self.asked.append(asked)
                link.sendall(self.answer(asked))


@pytest.fixture
def tgtd(tmp_path: Path) -> Iterator[FakeTgtd]:
    with ExitStack() as stack:
        yield FakeTgtd(tmp_path / "sock", Standing(), stack)


def test_a_target_goes_offline_before_its_connections_and_its_account_goes_last(tgtd: FakeTgtd) -> None:
    tgtd.target.remove("0", 1, "user1")
    assert tgtd.changes == [
        (Mode.TARGET, Op.UPDATE, 1, "state=offline"),
        (Mode.CONNECTION, Op.DELETE, 1, ""),
        (Mode.TARGET, Op.DELETE, 1, ""),
        (Mode.ACCOUNT, Op.DELETE, -1, "user=user1"),
    ]


def test_while_requests_are_in_flight_connections_are_closed_again_until_it_is_gone(tgtd: FakeTgtd) -> None:
    tgtd.answer = Standing(deletions_refused=3)
    tgtd.target.remove("0", 1, "user1")
    closed_and_deleted = [asked[:2] for asked in tgtd.changes[1:-1]]
    assert closed_and_deleted == [(Mode.CONNECTION, Op.DELETE), (Mode.TARGET, Op.DELETE)] * 4


def test_a_target_that_stays_busy_is_given_up_and_its_account_is_kept(tgtd: FakeTgtd) -> None:
    tgtd.answer = Standing(deletions_refused=10**6)
    with pytest.raises(TransientError) as error:
        tgtd.target.remove("0", 1, "user1")
    assert error.value.problem.slug == "target-busy"
    assert Mode.ACCOUNT not in {mode for mode, op, *_ in tgtd.changes}


def test_the_account_is_bound_before_the_address(tgtd: FakeTgtd) -> None:
    tgtd.target.admit("0", EXPORT)
    bound = [asked[:2] for asked in tgtd.changes if asked[1] is Op.BIND]
    assert bound == [(Mode.ACCOUNT, Op.BIND), (Mode.TARGET, Op.BIND)]


def test_a_status_half_way_through_is_not_remembered(tgtd: FakeTgtd) -> None:
    """A target without a stamp is one that its maker hasn't finished: its facts are read each time."""
    tgtd.answer = standing = Standing()
    standing.stamp = 0
    for _ in range(2):
        tgtd.asked.clear()
        assert tgtd.target.status("0", 1) is not None
        assert (Mode.TARGET, Op.SHOW, -1, "") in tgtd.asked


def test_the_list_is_read_once_for_each_log_in(tgtd: FakeTgtd) -> None:
    for lists in (2, 0, 0):  # for what the target is, and for the alias
        tgtd.asked.clear()
        status = tgtd.target.status("0", 1)
        assert status is not None
        assert [session.alias for session in status.sessions] == ["n1"]
        assert tgtd.asked.count((Mode.TARGET, Op.SHOW, -1, "")) == lists


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    answer=st.binary(max_size=40)
    | st.text(max_size=40).map(reply)
    | st.integers(0, 2**32 - 1).map(lambda c: reply(code=c))
)
def test_whatever_it_answers_is_an_error_of_ours_or_a_value(tgtd: FakeTgtd, answer: bytes) -> None:
    tgtd.answer = lambda asked: answer
    calls: list[Callable[[], object]] = [
        lambda: tgtd.target.check("0"),
        lambda: tgtd.target.status("0", 1),
        lambda: tgtd.target.exports("0"),
        lambda: tgtd.target.admit("0", EXPORT),
    ]
    for call in calls:
        assert EXPORT.secret not in _problem(call)


def _problem(call: Callable[[], object]) -> str:
    try:
        call()
    except BmiError as error:
        return f"{error.problem} {error!r}"
    return ""
