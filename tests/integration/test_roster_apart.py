"""What a head says of its addresses while it has no database: it keeps them, unless it alone has lost it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from bmid.care.roster import Roster
from bmid.errors import TransientError
from bmid.settings import Settings
from bmid.store import heads, portals
from bmid.store.database import Database
from bmid.store.heads import Presence
from tests.support.http_peer import HttpPeer

ADDRESS = "10.77.0.1"
NOWHERE = "postgresql+psycopg://bmi@127.0.0.1:1/bmi"


class Well(BaseHTTPRequestHandler):
    """A head that has the database."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"database": "ok"}')


@pytest.fixture
def neighbour() -> Iterator[HttpPeer]:
    made = HttpPeer(Well, "")
    yield made
    made.close()


def settings(folder: Path, url: str) -> Settings:
    """Of head h1."""
    return Settings(head={"name": "h1", "state_folder": folder}, database={"url": url})  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path, url: str, neighbour: HttpPeer) -> Path:
    """The state of h1, which carries its address, and has said so; h2 is well."""
    database = Database(url)
    with database.write() as tx:
        shards = {"s0": f"{ADDRESS}:3260"}
        heads.beat(tx, "h1", "1", Presence(shards, url="http://127.0.0.1:1"))
        heads.beat(tx, "h2", "1", Presence({}, url=neighbour.address))
        portals.bring(tx, "h1", shards)
    database.close()
    assert Roster(settings(tmp_path, url), lambda _: True).carries(ADDRESS)
    return tmp_path


def long_ago(folder: Path) -> None:
    """The database has not answered for an hour."""
    file = folder / "neighbours.json"
    told = json.loads(file.read_text())
    file.write_text(json.dumps({**told, "at": told["at"] - 3600}))


def test_a_head_that_alone_has_lost_the_database_has_no_address(folder: Path) -> None:
    """It is about to be taken over, and answers no more when its disks are fenced."""
    long_ago(folder)
    roster = Roster(settings(folder, NOWHERE))
    assert not roster.carries(ADDRESS)
    assert not roster.carries(ADDRESS)


def test_a_head_that_has_just_lost_the_database_does_not_say(folder: Path) -> None:
    roster = Roster(settings(folder, NOWHERE))
    for _ in range(2):
        with pytest.raises(TransientError):
            roster.carries(ADDRESS)


def test_where_no_other_head_has_the_database_either_nobody_says(folder: Path, neighbour: HttpPeer) -> None:
    long_ago(folder)
    neighbour.close()
    with pytest.raises(TransientError):
        Roster(settings(folder, NOWHERE)).carries(ADDRESS)
