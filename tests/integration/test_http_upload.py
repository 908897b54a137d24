"""Uploads over real HTTP on loopback."""

from __future__ import annotations

import errno
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from bmid.http import upload as upload_module
from bmid.http.linger import LIMIT
from bmid.http.staging import Staging
from tests.support.upload_site import Site, Slot, answer_of, problem


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.close()


def test_fifty_megabytes_arrive_whole_in_little_memory(site):
    block = bytes(range(256)) * 256
    site.allow(limit=64_000_000)
    tracemalloc.start()
    try:
        response = site.put((block for _ in range(800)), Content_Length=str(800 * len(block)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert response.json() == {"operation": "op-1", "size": 800 * len(block)}
    assert site.path.read_bytes() == block * 800
    assert site.uploads.completed == [("op-1", 800 * len(block))]
    assert site.files() == ["op-1.upload"]
    assert peak < 12_000_000


def test_an_upload_of_unknown_length_is_taken(site):
    assert site.put(iter([b"one", b"two"])).status_code == 200
    assert site.path.read_bytes() == b"onetwo"


def test_the_staged_file_is_for_our_eyes_only(site):
    site.put(b"abc")
    assert site.path.stat().st_mode & 0o777 == 0o600


def test_a_wrong_token_and_an_unknown_operation_cannot_be_told_apart(site):
    wrong = site.put(b"x", token="wrong")
    unknown = site.put(b"x", operation="op-2")
    strange = site.put(b"x", operation="%2e%2e%00")
    problem(wrong, 404, "no-such-upload")
    assert wrong.content == unknown.content == strange.content
    assert site.files() == []


def test_a_request_without_a_token_is_told_how_to_send_one(site):
    response = site.put(b"x", token=None)
    assert "Authorization: Bearer" in problem(response, 401, "no-token")["todo"]
    assert response.headers["www-authenticate"] == "Bearer"
    problem(site.put(b"x", token=None, operation="op-2"), 401, "no-token")


@pytest.mark.parametrize("announced", [True, False])
def test_more_bytes_than_allowed_are_refused_and_nothing_is_left(site, announced):
    content = b"x" * 5_000_000
    response = site.put(content if announced else iter([content[:500], content[500:]]))
    problem(response, 413, "upload-too-long")
    site.wait_for(lambda: site.files() == [])
    assert site.uploads.completed == []


def test_who_looks_for_the_answer_only_when_all_is_sent_gets_it(site):
    size = 40_000_000  # more than the buffers between take
    connection = site.begin(size, b"")
    connection.sendall(b"x" * size)
    assert b" 413 " in answer_of(connection)


def test_who_sends_on_and_on_against_an_answer_is_cut_off(site):
    connection, sent = site.begin(1 << 40, b""), 0
    with suppress(BrokenPipeError, ConnectionResetError):
        while sent < 1 << 30:
            sent += connection.send(b"x" * (1 << 20))
    assert LIMIT <= sent < 1 << 30


def test_exactly_the_allowed_bytes_are_taken(site):
    assert site.put(b"x" * 1000).status_code == 200
    problem(site.put(b"x" * 1001), 413, "upload-too-long")


def test_an_upload_that_needs_more_room_than_there_is_is_refused_before_it_begins(site):
    site.allow(limit=1 << 60)
    connection = site.begin(1 << 59, b"")
    assert b" 507 " in answer_of(connection)
    assert site.files() == []


def test_two_uploads_do_not_both_count_on_the_same_room(site, monkeypatch):
    monkeypatch.setattr(upload_module, "free_space", lambda folder: 1500)
    site.uploads.slots["op-2"] = Slot(site.folder / "op-2.upload")
    with site.begin(1000, b"x"):
        site.wait_for(lambda: site.files() != [])
        problem(site.put(b"y" * 600, operation="op-2"), 507, "no-space")
        assert site.put(b"y" * 400, operation="op-2").status_code == 200


def test_a_disk_that_fills_up_in_between_is_no_mistake_of_the_sender(site, monkeypatch):
    def full(self: Staging, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Staging, "write", full)
    problem(site.put(b"x"), 507, "no-space")
    assert site.files() == []


def test_a_transfer_that_breaks_off_leaves_nothing_and_may_be_sent_again(site):
    connection = site.begin(1000, b"x" * 500)
    site.wait_for(lambda: site.files() == ["op-1.upload.part"])
    connection.close()
    site.wait_for(lambda: site.files() == [])
    assert site.uploads.completed == []
    assert site.put(b"y" * 1000).status_code == 200
    assert site.path.read_bytes() == b"y" * 1000


def test_what_a_killed_daemon_left_behind_does_not_stand_in_the_way(site):
    site.path.with_name("op-1.upload.part").write_bytes(b"old" * 1000)
    assert site.put(b"new").status_code == 200
    assert (site.path.read_bytes(), site.files()) == (b"new", ["op-1.upload"])


def test_a_second_transfer_of_the_same_upload_is_refused_while_the_first_goes_on(site):
    with site.begin(6, b"abc") as first:
        site.wait_for(lambda: site.files() == ["op-1.upload.part"])
        problem(site.put(b"xyz"), 409, "upload-in-progress")
        first.sendall(b"def")
        assert b" 200 " in answer_of(first)
    assert site.path.read_bytes() == b"abcdef"


def test_what_is_complete_is_not_overwritten(site):
    site.path.write_bytes(b"abc")
    site.allow(limit=1000, complete=True)
    problem(site.put(b"xyz"), 409, "upload-complete")
    assert site.path.read_bytes() == b"abc"


def test_a_sender_that_waits_to_be_asked_is_refused_without_sending(site):
    with site.connect() as connection:
        connection.sendall(
            b"PUT /v1/uploads/op-1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer wrong\r\n"
            b"Content-Length: 1000\r\nExpect: 100-continue\r\n\r\n"
        )
        answer = answer_of(connection)
    assert answer.startswith(b"HTTP/1.1 404 ")


def test_while_the_database_is_away_the_sender_is_asked_to_come_again(site):
    site.uploads.away = True
    response = site.put(b"x")
    assert response.json()["type"] == "urn:bmi:problem:database-away"
    assert (response.status_code, response.headers["retry-after"]) == (503, "5")
