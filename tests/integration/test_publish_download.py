"""`bmi-publish image download`: export, transfer, comparison and tidying up in one, and nothing left where it fails."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from bmid.messages.envelope import Envelope
from tests.support.bmid import House
from tests.support.command_line import Run, command_line
from tests.support.fake_bmid import Event, FakeBmid, fails
from tests.support.http_peer import HttpPeer
from tests.support.image import bios_disk

CONTENT = bytes(range(256)) * 8192


class Server(HttpPeer):
    """Has one file to fetch; the connection breaks after `breaks` bytes of each answer, as often as it says."""

    def __init__(self, breaks: list[int], status: int = 200, tags: tuple[str, ...] = ('"a"',)) -> None:
        self.asked: list[tuple[str, str | None, str | None]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = self.headers["Range"]
                outer.asked.append(("GET", self.headers["Authorization"], asked))
                tag = tags[min(len(outer.asked), len(tags)) - 1]
                same = asked and self.headers["If-Range"] == tag
                begin = int(asked[6:-1]) if asked and same else 0
                self.send_response(206 if same else status)
                self.send_header("Content-Length", str(len(CONTENT) - begin))
                self.send_header("ETag", tag)
                self.end_headers()
                end = begin + breaks.pop(0) if breaks else len(CONTENT)
                self.wfile.write(CONTENT[begin:end])
                self.close_connection = True

            def do_DELETE(self) -> None:
                outer.asked.append(("DELETE", self.headers["Authorization"], None))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

        super().__init__(Handler, "/v1/downloads/op1")

    def exports(self, digest: str = hashlib.sha256(CONTENT).hexdigest()) -> Callable[[Envelope, str], list[Event]]:
        """The answer of a bmid that has exported the file."""

        def answer(command: Envelope, operation: str) -> list[Event]:
            base = {"operation": operation, "command": command.type, "project": "p1"}
            said = {**base, "image": "debian", "size": len(CONTENT), "sha256": digest, "url": self.address}
            return [("bmi.operation.accepted.v1", base), ("bmi.image.exported.v1", said)]

        return answer


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(*breaks: int, **options: object) -> Server:
        servers.append(Server(list(breaks), **options))  # type: ignore[arg-type]
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def test_a_download_asks_for_an_export_with_a_token_that_only_the_file_s_server_sees(
    run: Run, bmid: FakeBmid, serve: Callable[..., Server], tmp_path: Path
) -> None:
    server = serve()
    bmid.answer = server.exports()
    result = run("image", "download", "debian", "--to", str(tmp_path / "out"), "--format", "raw", "-o", "json")
    assert (result.exit_code, json.loads(result.stdout)["state"]) == (0, "done"), result.output
    assert (tmp_path / "out").read_bytes() == CONTENT
    [(_, authorization, _), (last, again, _)] = server.asked
    assert (last, again) == ("DELETE", authorization)
    token = str(authorization).removeprefix("Bearer ")
    to = bmid.commands[0].data["to"]
    assert to["token"] == hashlib.sha256(token.encode()).hexdigest()
    assert (to["format"], to["file"].startswith("debian-")) == ("raw", True)
    assert token not in json.dumps(bmid.commands[0].data) + result.output


def test_a_line_that_breaks_goes_on_where_it_stopped(
    run: Run, bmid: FakeBmid, serve: Callable[..., Server], tmp_path: Path
) -> None:
    server = serve(1000, 500_000)
    bmid.answer = server.exports()
    assert run("image", "download", "debian", "--to", str(tmp_path / "out")).exit_code == 0
    assert [asked for _, _, asked in server.asked] == [None, "bytes=1000-", "bytes=501000-", None]
    assert (tmp_path / "out").read_bytes() == CONTENT


def test_another_file_than_the_one_that_was_begun_is_fetched_from_its_start(
    run: Run, bmid: FakeBmid, serve: Callable[..., Server], tmp_path: Path
) -> None:
    server = serve(1000, tags=('"a"', '"b"'))
    bmid.answer = server.exports()
    assert run("image", "download", "debian", "--to", str(tmp_path / "out")).exit_code == 0
    assert (tmp_path / "out").read_bytes() == CONTENT


def test_what_is_not_what_was_exported_is_not_kept(
    run: Run, bmid: FakeBmid, serve: Callable[..., Server], tmp_path: Path
) -> None:
    server = serve()
    bmid.answer = server.exports("0" * 64)
    result = run("image", "download", "debian", "--to", str(tmp_path / "out"))
    assert (result.exit_code, (tmp_path / "out").exists()) == (1, False)
    assert "0" * 64 in result.stderr
    assert [method for method, _, _ in server.asked] == ["GET"], "it stays where somebody can look at it"


def test_a_refusal_leaves_no_file(run: Run, bmid: FakeBmid, serve: Callable[..., Server], tmp_path: Path) -> None:
    bmid.answer = fails(refused=True, detail="there is no image p1/debian")
    result = run("image", "download", "debian", "--to", str(tmp_path / "out"))
    assert (result.exit_code, (tmp_path / "out").exists()) == (65, False)
    assert "there is no image p1/debian" in result.stderr
    server = serve(status=404)
    bmid.answer = server.exports()
    result = run("image", "download", "debian", "--to", str(tmp_path / "out"))
    assert (result.exit_code, (tmp_path / "out").exists()) == (1, False)
    assert "404" in result.stderr


def test_a_file_that_is_there_is_not_overwritten_and_nothing_is_sent(run: Run, bmid: FakeBmid, tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"precious")
    assert run("image", "download", "debian", "--to", str(tmp_path / "out")).exit_code == 2
    assert run("image", "download", "debian", "--to", str(tmp_path / "none" / "out")).exit_code == 2
    assert (tmp_path / "out").read_bytes() == b"precious"
    assert bmid.commands == []


def test_an_image_of_a_real_bmid_is_fetched_and_its_export_is_gone(house: House, tmp_path: Path) -> None:
    project = house.project()
    image = house.image(project)
    run = command_line(house.rabbitmq, tmp_path)
    words = ("image", "download", image, "--project", project, "--to", str(tmp_path / "out"), "--format", "raw")
    with house.nothing_left():
        result = run(*words, env={"BMI_URL": house.url("alice")})
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out").read_bytes() == bios_disk()
