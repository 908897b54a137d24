"""A head that alone has lost the database gives its addresses back; where all have lost it, everybody keeps his."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from bmid.care.solitude import Solitude, has_database
from tests.support.http_peer import HttpPeer

ME, OTHER, THIRD = "http://a", "http://b", "http://c"
PATIENCE = 30.0


class Head:
    """One machine's memory; `well` are the heads that have the database."""

    def __init__(self, folder: Path) -> None:
        self.now = 1000.0
        self.well: set[str] = set()
        self.asked: list[str] = []
        self.solitude = Solitude(folder, PATIENCE, lambda: self.now, self._ask)

    def _ask(self, url: str) -> bool:
        self.asked.append(url)
        return url in self.well

    def known(self, *others: str, stopped: bool = False) -> None:
        """The database answers."""
        self.solitude.note(ME, others, stopped=stopped)


@pytest.fixture
def head(tmp_path: Path) -> Head:
    """It has lost the database for longer than its patience; one of two others has it."""
    made = Head(tmp_path)
    made.known(OTHER, THIRD)
    made.now += PATIENCE
    made.well = {THIRD}
    return made


def test_who_alone_has_lost_it_knows_from_the_others(head: Head) -> None:
    assert head.solitude.alone()


def test_where_nobody_has_it_nobody_is_alone(head: Head) -> None:
    head.well = set()
    assert not head.solitude.alone()
    assert sorted(head.asked) == sorted([ME, OTHER, THIRD])


def test_whose_own_bmid_has_it_is_not_alone(head: Head) -> None:
    """As where no more connections are let in, and those of before go on."""
    head.well = {ME, THIRD}
    assert not head.solitude.alone()


def test_a_moment_is_not_enough(head: Head) -> None:
    head.now -= 0.1
    assert not head.solitude.alone()
    assert head.asked == []


def test_an_answer_begins_it_anew(head: Head) -> None:
    head.known(OTHER, THIRD)
    assert not head.solitude.alone()
    head.now += PATIENCE
    assert head.solitude.alone()


def test_who_was_stopped_in_order_keeps_its_addresses(head: Head) -> None:
    """Nobody takes them over."""
    head.known(OTHER, THIRD, stopped=True)
    head.now += PATIENCE
    assert not head.solitude.alone()


def test_what_was_known_before_the_machine_was_started_again_is_not_known(head: Head) -> None:
    """Its clock counts from its start."""
    head.now = 5.0
    assert not head.solitude.alone()


@pytest.mark.parametrize("text", ["", "[]", '{"at": "x"}', "\x00"])
def test_a_file_that_is_no_use_is_none(head: Head, tmp_path: Path, text: str) -> None:
    [file] = tmp_path.iterdir()
    file.write_text(text)
    assert not head.solitude.alone()
    head.known(OTHER)
    head.now += PATIENCE
    head.well = {OTHER}
    assert head.solitude.alone()


def test_a_folder_that_is_away_is_no_error(tmp_path: Path) -> None:
    head = Head(tmp_path / "missing")
    head.known(OTHER)
    assert not head.solitude.alone()


REPORT: dict[str, object] = {}


class Ready(BaseHTTPRequestHandler):
    """What `/readyz` says."""

    def do_GET(self) -> None:
        self.send_response(200 if set(REPORT.values()) == {"ok"} and self.path == "/readyz" else 503)
        self.end_headers()
        self.wfile.write(json.dumps(REPORT).encode())


@pytest.fixture
def peer() -> Iterator[HttpPeer]:
    made = HttpPeer(Ready, "")
    yield made
    made.close()


@pytest.mark.parametrize(
    ("report", "has"),
    [
        ({"database": "ok", "broker": "ok"}, True),
        ({"database": "ok", "broker": "not connected yet"}, True),
        ({"database": "does not answer", "broker": "ok"}, False),
        ({}, False),
    ],
)
def test_a_head_says_of_itself_whether_it_has_the_database(
    peer: HttpPeer, monkeypatch: pytest.MonkeyPatch, report: dict[str, object], has: bool
) -> None:
    for name, value in report.items():
        monkeypatch.setitem(REPORT, name, value)
    assert has_database(peer.address) is has


def test_who_does_not_answer_says_nothing() -> None:
    assert not has_database("http://127.0.0.1:1")
    assert not has_database("nowhere")
