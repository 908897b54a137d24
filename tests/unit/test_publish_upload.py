"""Sending a file: whole, again where that helps, and with the server's own words where it doesn't."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from bmi_publish import UploadFailed
from bmi_publish.upload import send_file
from tests.support.http_peer import HttpPeer

Answer = tuple[int, str]
HANG_UP: Answer = (0, "")


class Server(HttpPeer):
    """Gives the answers of a list in turn."""

    def __init__(self, answers: list[Answer]) -> None:
        self.bodies: list[bytes] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                outer.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                status, slug = answers[len(outer.bodies) - 1]
                if status == 0:
                    self.close_connection = True
                    return
                problem = {"type": f"urn:bmi:problem:{slug}", "detail": f"it is {slug}", "todo": "wait"}
                body = json.dumps(problem).encode()
                self.send_response(status)
                self.send_header("Retry-After", "0")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        super().__init__(Handler, "/v1/uploads/op1")


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    made = Server(request.param)
    yield made
    made.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "disk.raw"
    path.write_bytes(bytes(range(256)) * 10_000)
    return path


def nothing(done: int, total: int) -> None:
    """No progress is shown."""


@pytest.mark.parametrize(
    ("server", "attempts"),
    [
        ([(200, "fine")], 1),
        ([HANG_UP, (200, "fine")], 2),
        ([(503, "database-away"), (409, "upload-in-progress"), (200, "fine")], 3),
        ([HANG_UP, (409, "upload-complete")], 2),
    ],
    indirect=["server"],
)
def test_a_file_arrives_whole_however_often_it_takes(server: Server, attempts: int, file: Path) -> None:
    seen: list[tuple[int, int]] = []
    send_file(server.address, "t0ken", file, lambda done, total: seen.append((done, total)))
    assert server.bodies == [file.read_bytes()] * attempts
    assert seen[-1] == (2_560_000, 2_560_000)


@pytest.mark.parametrize(
    ("server", "slug", "attempts"),
    [([(413, "upload-too-long")], "upload-too-long", 1), ([HANG_UP] * 3, "upload-failed", 3)],
    indirect=["server"],
)
def test_what_does_not_help_is_not_tried_again_and_is_told(
    server: Server, slug: str, attempts: int, file: Path
) -> None:
    with pytest.raises(UploadFailed) as caught:
        send_file(server.address, "t0ken", file, nothing)
    assert (caught.value.problem.slug, len(server.bodies)) == (slug, attempts)
    assert "t0ken" not in caught.value.problem.model_dump_json()


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UploadFailed, match="No such file"):
        send_file("http://127.0.0.1:1/", "t0ken", tmp_path / "none", nothing)
