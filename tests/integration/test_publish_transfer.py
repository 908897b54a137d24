"""`bmi-publish image import` of a file that is uploaded: command, transfer and waiting in one."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.support.command_line import Run
from tests.support.fake_bmid import FakeBmid, fails
from tests.support.http_peer import HttpPeer


class Server(HttpPeer):
    """Takes one upload, as bmid would; `status` other than 201 refuses it."""

    def __init__(self, status: int = 201) -> None:
        self.bodies: list[bytes] = []
        self.authorizations: list[str | None] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                outer.authorizations.append(self.headers["Authorization"])
                outer.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                body = b"" if status == 201 else b'{"title": "Gone", "detail": "nothing is awaited here"}'
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        super().__init__(Handler, "/v1/uploads/op1")


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(status: int = 201) -> Server:
        servers.append(Server(status))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def accepts_upload(bmid: FakeBmid, server: Server) -> None:
    bmid.answer = lambda command, operation: [
        ("bmi.operation.accepted.v1", {"operation": operation, "project": "p1", "upload": server.address})
    ]


def test_an_upload_is_command_transfer_and_waiting_in_one(
    run: Run, bmid: FakeBmid, serve: Callable[..., Server], tmp_path: Path
) -> None:
    server = serve()
    accepts_upload(bmid, server)
    content = os.urandom((3 << 20) + 17)
    (tmp_path / "disk.raw").write_bytes(content)

    def finish() -> None:
        end = time.monotonic() + 20
        while not server.bodies and time.monotonic() < end:
            time.sleep(0.02)
        data = {"operation": "op1", "project": "p1", "image": "debian-12"}
        bmid.emit("bmi.image.imported.v1", bmid.commands[0], data)

    threading.Thread(target=finish).start()
    result = run("image", "upload", str(tmp_path / "disk.raw"), "--name", "debian-12", "--wait", "-o", "json")
    assert (result.exit_code, json.loads(result.stdout)["state"]) == (0, "done")
    assert server.bodies == [content]
    [authorization] = server.authorizations
    token = str(authorization).removeprefix("Bearer ")
    assert bmid.commands[0].data["source"] == {"upload": hashlib.sha256(token.encode()).hexdigest()}
    assert token not in json.dumps(bmid.commands[0].data)
    assert token not in result.output


def test_an_upload_without_wait_ends_when_the_bytes_are_there(
    run: Run, bmid: FakeBmid, serve: Callable[..., Server], tmp_path: Path
) -> None:
    server = serve()
    accepts_upload(bmid, server)
    (tmp_path / "disk.raw").write_bytes(b"x" * 1000)
    result = run("image", "upload", str(tmp_path / "disk.raw"), "--name", "i")
    assert (result.exit_code, server.bodies) == (0, [b"x" * 1000])


def test_an_upload_that_is_turned_away_says_why_the_operation_ended(
    run: Run, bmid: FakeBmid, serve: Callable[..., Server], tmp_path: Path
) -> None:
    server = serve(410)
    upload = {"operation": "op1", "project": "p1", "upload": server.address}
    refusal = fails(refused=True, detail="there is an image i already")
    bmid.answer = lambda command, operation: [
        ("bmi.operation.accepted.v1", upload),
        refusal(command, operation)[1],
    ]
    bmid.pace = 0.3
    (tmp_path / "disk.raw").write_bytes(b"x")
    result = run("image", "upload", str(tmp_path / "disk.raw"), "--name", "i", "--wait")
    assert result.exit_code == 65
    assert "there is an image i already" in result.stderr
