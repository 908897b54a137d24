"""The HTTP server itself: garbage, slow and too many senders, health, metrics, and how it stops."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from bmid.errors import Misconfigured
from bmid.http import server as server_module
from bmid.http import upload as upload_module
from bmid.http.app import build
from bmid.http.server import HttpServer
from tests.support.upload_site import TOKEN, Site, answer_of, problem


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.close()


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
            with suppress(BrokenPipeError, ConnectionResetError):  # what was said before that is there all the same
                connection.sendall(b"x")
            try:
                answer += connection.recv(4096)
            except TimeoutError:
                continue
            except ConnectionResetError:
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


def test_the_server_stops_at_once_also_during_a_transfer(tmp_path):
    site = Site(tmp_path)
    with site.begin(1000, b"x"):
        site.wait_for(lambda: site.files() == ["op-1.upload.part"])
        started = time.monotonic()
        site.close()
        assert time.monotonic() - started < 5, "it would wait for the rest for 30 s"
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
