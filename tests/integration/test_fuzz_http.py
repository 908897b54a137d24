"""Any bytes at the listener for uploads and downloads, and any answers of a BMC: each ends in an answer or in an error
that says so, in time, and whoever comes next is served.
"""

from __future__ import annotations

import json
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from http.server import ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from bmid.drivers.base import PowerAction
from bmid.drivers.power.redfish import RedfishPower
from bmid.errors import PermanentError, TransientError
from bmid.model.entity import PowerAddress
from tests.support.fuzz import MIB, Flat, mutated, seeded, strange
from tests.support.power_peer import Quiet, serve
from tests.support.upload_site import TOKEN, Site

HOST, BEARER = b"Host: x\r\n", f"Authorization: Bearer {TOKEN}\r\n".encode()
PUT = b"PUT /v1/uploads/op-1 HTTP/1.1\r\n" + HOST + BEARER
REAL = (
    PUT + b"Content-Length: 5\r\n\r\nhello",
    PUT + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    PUT + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
    b"GET /v1/downloads/op-1 HTTP/1.1\r\n" + HOST + BEARER + b"Range: bytes=1-3\r\nIf-Range: x\r\n\r\n",
    b"DELETE /v1/downloads/op-2 HTTP/1.1\r\n" + HOST + BEARER + b"\r\n",
    b"HEAD /v1/downloads/op-1 HTTP/1.0\r\n" + BEARER + b"\r\n",
    b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\nGET /readyz HTTP/1.1\r\n" + HOST + b"\r\n",
)
BROKEN = (
    PUT + b"Content-Length: -1\r\n\r\nhello",
    PUT + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    PUT + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    PUT + b"Content-Length: 99999999999999999999999999\r\n\r\nhello",
    PUT + b"Content-Length: 50\r\n\r\nhello",
    PUT + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\nhello",
    PUT + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello",
    PUT + b"X: " + b"x" * 200_000 + b"\r\n\r\n",
    PUT + b"".join(b"X-%d: y\r\n" % number for number in range(3000)) + b"\r\n",
    b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /v1/downloads/%2e%2e%2f%2e%2e%2fetc%2fpasswd HTTP/1.1\r\n" + HOST + BEARER + b"\r\n",
    b"GET http://elsewhere/v1/downloads/op-1 HTTP/1.1\r\n" + HOST + BEARER + b"\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
    b"CONNECT x:1 HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /healthz HTTP/1.1\r\n" + HOST + b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    b"\r\n" * 5000,
    b"\0" * 50_000,
    b"",
)
SECONDS = 60.0


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """One that awaits an upload, and has a file to be fetched."""
    made = Site(tmp_path)
    made.export(b"exported bytes")
    yield made
    made.close()


def ask(site: Site, content: bytes, pieces: int) -> bytes:
    """Send it, in so many pieces, and hear all that is said until the connection is closed."""
    said = b""
    with site.connect() as link, suppress(ConnectionError):
        link.settimeout(SECONDS)
        step = max(1, len(content) // pieces)
        with suppress(OSError):
            for start in range(0, len(content), step):
                link.sendall(content[start : start + step])
                if pieces > 1:
                    time.sleep(0.002)
            link.shutdown(socket.SHUT_WR)
        while piece := link.recv(65536):
            said += piece
    return said


def judge(said: bytes) -> str:
    """The answer's status; what is refused by the application is a problem that says what to do."""
    if not said:
        return "closed"
    head, _, body = said.partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 100"):
        head, _, body = body.partition(b"\r\n\r\n")
        if not head:
            return "closed"
    assert head.startswith(b"HTTP/1.1 "), said[:200]
    status = head.split()[1].decode()
    assert not status.startswith("5") or status in ("503", "507"), said[:500]
    assert b"Traceback" not in said
    assert TOKEN.encode() not in said
    if b"application/problem+json" in head and body:
        problem = json.loads(body)
        assert all(problem[name] for name in ("detail", "todo")), problem
    return status


def requests(chance: random.Random, count: int) -> Iterator[tuple[bytes, int]]:
    """What is sent, and in how many pieces."""
    yield from ((content, 1) for content in (*REAL, *BROKEN))
    for _ in range(count - len(REAL) - len(BROKEN)):
        content = chance.choice(REAL if chance.random() < 0.8 else BROKEN)[:4000]
        yield mutated(chance, content, chance.choice(REAL)), chance.choice((1, 1, 1, 7))


@pytest.mark.parametrize("count", [800, pytest.param(20_000, marks=[pytest.mark.long, pytest.mark.timeout(3600)])])
def test_whatever_is_sent_is_answered_or_closed_and_the_next_one_is_served(site: Site, count: int) -> None:
    """No answer is our mistake (500); nothing is left in the staging folder, nor open, nor in memory."""
    chance, flat, heard = seeded(count), Flat(), Counter[str]()
    with ThreadPoolExecutor(8) as pool:
        asked = list(requests(chance, count))
        for batch in range(0, count, 200):
            if batch == 200:
                flat.begin()
            said = pool.map(lambda one: judge(ask(site, *one)), asked[batch : batch + 200])
            heard.update(said)
            assert httpx.get(f"{site.url}/healthz", timeout=20).status_code == 200
    assert flat.grown() < 48 * MIB
    assert {"200", "400", "404", "405", "401"} <= heard.keys(), heard
    site.wait_for(lambda: not site.server._server.server_state.connections)
    assert set(site.files()) <= {"debian.qcow2", "op-1.upload"}


def test_those_who_send_a_byte_now_and_then_hold_up_nobody(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """100 connections that never get to the end of their head are closed in time, and others are served meanwhile."""
    monkeypatch.setattr("bmid.http.server.HEADER_TIMEOUT", 1.5)
    links = [site.connect() for _ in range(100)]
    try:
        for turn in range(3):
            for link in links:
                with suppress(ConnectionError):  # its time may be up already
                    link.sendall(PUT[turn : turn + 1])
            assert httpx.get(f"{site.url}/healthz", timeout=20).status_code == 200
        for link in links:
            link.settimeout(20)
            with suppress(ConnectionError):
                assert link.recv(100) == b""
    finally:
        for link in links:
            link.close()
    site.wait_for(lambda: not site.server._server.server_state.connections)


SYSTEM = {
    "@odata.id": "/redfish/v1/Systems/1", "@odata.type": "#ComputerSystem.v1_10_0.ComputerSystem", "Id": "1",
    "Name": "n1", "PowerState": "Off", "Manufacturer": "Lab", "Model": "One",
    "Boot": {
        "BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": "Pxe",
        "BootSourceOverrideTarget@Redfish.AllowableValues": ["None", "Pxe", "Hdd"],
    },
    "Actions": {"#ComputerSystem.Reset": {
        "target": "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset",
        "ResetType@Redfish.AllowableValues": ["On", "ForceOff", "ForceRestart"],
    }},
    "MemorySummary": {"TotalSystemMemoryGiB": 8}, "Status": {"Health": "OK", "State": "Enabled"},
}  # fmt: skip
ROOT = {
    "@odata.id": "/redfish/v1/", "@odata.type": "#ServiceRoot.v1_5_0.ServiceRoot", "Id": "Root", "Name": "Root",
    "RedfishVersion": "1.6.0", "UUID": "27946b59-9e44-4fa7-8e91-f3527a1ef094",
    "Systems": {"@odata.id": "/redfish/v1/Systems"}, "Links": {"Sessions": {"@odata.id": "/redfish/v1/Sessions"}},
}  # fmt: skip


class Liar(Quiet):
    """Answers with real documents, with accidents of any kind in them."""

    chance = seeded(11)
    lock = threading.Lock()

    def _answer(self) -> None:
        with self.lock:
            body, status = self._said()
        length = self.headers.get("Content-Length")
        if length:
            self.rfile.read(int(length))
        with suppress(ConnectionError):
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            if status != 204:
                self.send_header("Content-Length", str(len(body) + (50 if body.endswith(b"\xff") else 0)))
            self.end_headers()
            self.wfile.write(body)

    def _said(self) -> tuple[bytes, int]:
        chance = self.chance
        document = json.loads(json.dumps(ROOT if self.path.rstrip("/").endswith("v1") else SYSTEM))
        how = chance.random()
        if how < 0.45:
            for _ in range(chance.randint(0, 2)):
                place = document.get(chance.choice(("Boot", "Actions", "Links", "x")))
                place = place if isinstance(place, dict) and chance.random() < 0.5 else document
                place[chance.choice(sorted(place) or ["x"])] = strange(chance)
            return json.dumps(document).encode(), 200
        if how < 0.75:
            return mutated(chance, json.dumps(document).encode(), b"[{}]"), 200
        return b"{" * chance.choice((0, 3, 20_000)), chance.choice((200, 202, 204, 301, 400, 401, 404, 412, 500, 503))

    do_GET = do_POST = do_PATCH = _answer  # noqa: N815 - the library's names


@pytest.mark.parametrize("count", [150, pytest.param(4000, marks=[pytest.mark.long, pytest.mark.timeout(1800)])])
def test_whatever_a_bmc_answers_is_a_state_or_an_error_with_a_name(count: int) -> None:
    """Within the call's time limit, and without a word of what the BMC sent."""
    slugs, well, longest = Counter[str](), 0, 0
    with ExitStack() as stack:
        server = serve(ThreadingHTTPServer(("127.0.0.1", 0), Liar), stack)
        bmc = PowerAddress("redfish", f"http://127.0.0.1:{server.server_address[1]}/redfish/v1/Systems/1")
        power = RedfishPower({}.__getitem__, timeout=3)
        calls = (
            power.check,
            power.state,
            power.boot_from_network_once,
            *(lambda bmc, action=action: power.request(bmc, action) for action in PowerAction),
        )
        for number in range(count):
            began = time.monotonic()
            try:
                calls[number % len(calls)](bmc)
                well += 1
            except (TransientError, PermanentError) as error:
                slugs[error.problem.slug] += 1
                longest = max(longest, len(error.problem.detail))
            assert time.monotonic() - began < 8
    assert well > 0
    assert longest < 300
    assert all(slug.startswith("bmc-") for slug in slugs)
    assert slugs["bmc-garbled"] > 0, slugs
