"""Uploads over real HTTP on loopback."""

from __future__ import annotations

import errno
import hashlib
import json
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from bmid.errors import Misconfigured, TransientError
from bmid.http import server as server_module
from bmid.http import upload as upload_module
from bmid.http.app import build
from bmid.http.server import HttpServer
from bmid.http.staging import Staging

TOKEN = "token-that-nobody-may-see"


@dataclass(frozen=True)
class Slot:
    path: Path
    limit: int = 1000
    complete: bool = False
    token_sha256: str = hashlib.sha256(TOKEN.encode()).hexdigest()


@dataclass
class FakeUploads:
    """Uploads that are awaited, and those that were reported as whole."""

    slots: dict[str, Slot] = field(default_factory=dict)
    completed: list[tuple[str, int]] = field(default_factory=list)
    away: bool = False

    def find(self, operation: str) -> Slot | None:
        if self.away:
            raise TransientError("database-away", "the database is away")
        return self.slots.get(operation)

    def complete(self, operation: str, size: int) -> None:
        self.completed.append((operation, size))


class FakeHealth:
    def __init__(self) -> None:
        self.state = {"database": "ok", "broker": "ok"}

    def report(self) -> dict[str, str]:
        return self.state


class Site:
    """A running server, and what stands behind it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.uploads = FakeUploads({"op-1": Slot(folder / "op-1.upload")})
        self.health = FakeHealth()
        self.server = HttpServer(build(self.uploads, self.health, lambda: b"a_metric 1\n"), "127.0.0.1", 0)
        self.thread = threading.Thread(target=self.server.serve)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.port}"
        self.wait_for(lambda: self.server._server.started)

    @property
    def path(self) -> Path:
        return self.folder / "op-1.upload"

    def allow(self, limit: int, complete: bool = False) -> None:
        self.uploads.slots["op-1"] = Slot(self.path, limit, complete)

    def put(
        self, content: object, operation: str = "op-1", token: str | None = TOKEN, **headers: str
    ) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            named["Authorization"] = f"Bearer {token}"
        return httpx.put(f"{self.url}/v1/uploads/{operation}", content=content, headers=named, timeout=30)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.server.port), timeout=20)

    def begin(self, length: int, first: bytes) -> socket.socket:
        """A transfer that has begun and waits."""
        connection = self.connect()
        head = (
            f"PUT /v1/uploads/op-1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {length}\r\n"
        )
        connection.sendall(head.encode() + b"\r\n" + first)
        return connection

    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())

    def wait_for(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.01)

    def close(self) -> None:
        self.server.stop()
        self.thread.join(5)
        assert not self.thread.is_alive()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.close()


def answer_of(connection: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    received = b""
    try:
        while piece := connection.recv(65536):
            received += piece
    except ConnectionResetError:
        pass
    return received


def problem(response: httpx.Response, status: int, slug: str) -> dict:
    assert response.headers["content-type"] == "application/problem+json"
    content = response.json()
    assert (response.status_code, content["status"], content["type"]) == (status, status, f"urn:bmi:problem:{slug}")
    assert content["todo"]
    return content


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


GARBAGE = {
    "binary": bytes(range(256)) * 40,
    "an endless header": b"GET / HTTP/1.1\r\nX: " + b"x" * 200_000,
    "a negative length": b"PUT /v1/uploads/op-1 HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
    "two lengths": b"PUT /v1/uploads/op-1 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    "a TLS hello": bytes.fromhex("16030100c8010000c40303") + b"\x00" * 200,
    "a chunk without a length": b"PUT /v1/uploads/op-1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
    b"Authorization: Bearer " + TOKEN.encode() + b"\r\n\r\nzzz\r\nabc",
    "a token of garbage": b"PUT /v1/uploads/op-1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\n"
    b"Content-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_refused_and_the_next_one_is_served(site, name):
    with site.connect() as connection:
        with suppress(OSError):  # it may have hung up on us already
            connection.sendall(GARBAGE[name])
            connection.shutdown(socket.SHUT_WR)
        answer = answer_of(connection)
    assert answer == b"" or answer.split()[1] in (b"400", b"404", b"431")
    site.wait_for(lambda: site.files() == [])
    assert site.put(b"x").status_code == 200


def test_a_request_whose_head_does_not_end_is_cut(site, monkeypatch):
    monkeypatch.setattr(server_module, "HEADER_TIMEOUT", 0.3)
    with site.connect() as idle, site.connect() as slow:
        slow.sendall(b"GET /healthz HTTP/1.1\r\nX-Slow: ")
        assert answer_of(idle) == b""
        assert answer_of(slow) == b""


def test_a_body_that_stops_coming_is_cut(site, monkeypatch):
    monkeypatch.setattr(upload_module, "IDLE_LIMIT", 0.3)
    with site.begin(1000, b"x") as connection:
        assert b" 408 " in answer_of(connection)
    site.wait_for(lambda: site.files() == [])


def test_a_body_that_only_drips_is_cut(site, monkeypatch):
    monkeypatch.setattr(upload_module, "GRACE", 0.3)
    with site.begin(1000, b"x") as connection:
        connection.settimeout(0.05)
        answer = b""
        for _ in range(100):
            try:
                connection.sendall(b"x")
                answer += connection.recv(4096)
            except TimeoutError:
                continue
            except (BrokenPipeError, ConnectionResetError):
                break
            if answer:
                break
    assert b" 408 " in answer


def test_more_connections_than_we_serve_are_closed_and_the_others_go_on(site, monkeypatch):
    monkeypatch.setattr(server_module, "MAX_CONNECTIONS", 5)
    connections = [site.connect() for _ in range(8)]
    site.wait_for(lambda: len(site.server._server.server_state.connections) == 5)
    for connection in connections:
        connection.close()
    site.wait_for(lambda: not site.server._server.server_state.connections)
    assert site.put(b"x").status_code == 200


def test_no_token_reaches_the_log(site, capfd, caplog):
    caplog.set_level(0)
    site.put(b"x")
    site.put(b"x", token="another-secret")
    site.put(b"x" * 2000)
    written = "".join(capfd.readouterr()) + caplog.text
    assert TOKEN not in written
    assert "another-secret" not in written


def test_the_server_stops_within_a_second_also_during_a_transfer(tmp_path):
    site = Site(tmp_path)
    with site.begin(1000, b"x"):
        site.wait_for(lambda: site.files() == ["op-1.upload.part"])
        started = time.monotonic()
        site.close()
        assert time.monotonic() - started < 1.2
    assert site.files() == []


def test_health_is_about_the_process_and_readiness_about_its_parts(site):
    assert httpx.get(f"{site.url}/healthz").json() == {"process": "ok"}
    assert httpx.get(f"{site.url}/readyz").status_code == 200
    site.health.state["broker"] = "the broker at 10.0.0.1:5672 can't be reached"
    response = httpx.get(f"{site.url}/readyz")
    assert (response.status_code, response.json()["database"]) == (503, "ok")
    assert httpx.get(f"{site.url}/healthz").status_code == 200


def test_metrics_are_shown_as_text(site):
    response = httpx.get(f"{site.url}/metrics")
    assert (response.text, response.headers["content-type"].split(";")[0]) == ("a_metric 1\n", "text/plain")


def test_what_is_not_there_is_a_problem_as_well(site):
    problem(httpx.get(f"{site.url}/nothing"), 404, "bad-request")
    problem(httpx.post(f"{site.url}/v1/uploads/op-1"), 405, "bad-request")


def test_a_mistake_of_ours_is_told_without_its_details(site, monkeypatch):
    def broken(operation: str, size: int) -> None:
        raise ValueError("a secret")

    monkeypatch.setattr(site.uploads, "complete", broken)
    response = site.put(b"x")
    assert (response.status_code, "a secret" in json.dumps(response.json())) == (500, False)


def test_an_address_in_use_is_a_matter_of_settings(site):
    with pytest.raises(Misconfigured, match="can't listen"):
        HttpServer(build(site.uploads, site.health), "127.0.0.1", site.server.port)
