"""Downloads: exactly the exported file, whole or in parts, for whoever has its token; nothing else of the folder."""

from __future__ import annotations

import hashlib
import os
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bmid.http import download as download_module
from bmid.http.download_file import ExportedFile, Unsatisfiable, wanted
from tests.support.upload_site import TOKEN, Site, problem

CONTENT = bytes(range(256)) * 16


@pytest.fixture
def site(tmp_path: Path):  # type: ignore[no-untyped-def]
    made = Site(tmp_path)
    yield made
    made.close()


def test_the_holder_of_the_token_gets_the_whole_file_and_its_digest(site: Site) -> None:
    content = os.urandom(5_000_001)
    site.export(content)
    answer = site.fetch()
    assert (answer.status_code, answer.content) == (200, content)
    assert answer.headers["content-disposition"] == 'attachment; filename="debian.qcow2"'
    assert answer.headers["cache-control"] == "private, no-store"
    digest = answer.headers["repr-digest"].removeprefix("sha-256=:").removesuffix(":")
    assert b64decode(digest) == hashlib.sha256(content).digest()


def test_a_head_says_what_a_get_would_and_sends_nothing(site: Site) -> None:
    site.export(CONTENT)
    answer, whole = site.fetch(method="HEAD"), site.fetch()
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", str(len(CONTENT)))
    assert answer.headers["etag"] == whole.headers["etag"]
    assert answer.headers["accept-ranges"] == "bytes"


@pytest.mark.parametrize(
    ("asked", "begin", "end"),
    [("bytes=0-0", 0, 1), ("bytes=10-19", 10, 20), ("bytes=4000-", 4000, 4096), ("bytes=-96", 4000, 4096),
     ("bytes=4000-999999", 4000, 4096), ("bytes=-999999", 0, 4096)],
)  # fmt: skip
def test_a_range_is_sent_alone(site: Site, asked: str, begin: int, end: int) -> None:
    site.export(CONTENT)
    answer = site.fetch(Range=asked)
    assert (answer.status_code, answer.content) == (206, CONTENT[begin:end])
    assert answer.headers["content-range"] == f"bytes {begin}-{end - 1}/4096"


@pytest.mark.parametrize("asked", ["bytes=9-3", "bytes=1-2,5-6", "lines=1-2", "bytes=", "bytes=-", "bytes=a-b", "x"])
def test_what_is_no_single_range_is_answered_with_the_whole_file(site: Site, asked: str) -> None:
    site.export(CONTENT)
    answer = site.fetch(Range=asked)
    assert (answer.status_code, answer.content) == (200, CONTENT)


@pytest.mark.parametrize("asked", ["bytes=4096-", "bytes=99999-100000", "bytes=-0"])
def test_a_range_outside_of_the_file_is_refused_with_its_size(site: Site, asked: str) -> None:
    site.export(CONTENT)
    answer = site.fetch(Range=asked)
    problem(answer, 416, "range-outside")
    assert answer.headers["content-range"] == "bytes */4096"


def test_a_download_that_broke_goes_on_only_with_the_same_file(site: Site) -> None:
    site.export(CONTENT)
    tag = site.fetch(method="HEAD").headers["etag"]
    assert site.fetch(Range="bytes=10-", If_Range=tag).status_code == 206
    answer = site.fetch(Range="bytes=10-", If_Range='"another"')
    assert (answer.status_code, answer.content) == (200, CONTENT)


def test_an_empty_file_is_a_whole_file(site: Site) -> None:
    site.export(b"")
    assert (site.fetch().status_code, site.fetch().content) == (200, b"")
    problem(site.fetch(Range="bytes=0-"), 416, "range-outside")


def test_a_wrong_token_and_an_unknown_operation_cannot_be_told_apart(site: Site) -> None:
    site.export(CONTENT)
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    answers = [site.fetch(token="wrong"), site.fetch(token=digest), site.fetch("op-2"), site.fetch("%2e%2e%00")]
    for answer in answers:
        problem(answer, 404, "no-such-download")
    assert len({answer.content for answer in answers}) == 1
    problem(site.fetch(token=None), 401, "no-token")
    problem(site.fetch("", token=TOKEN), 404, "bad-request")


def test_an_upload_is_no_download_and_the_other_way_round(site: Site) -> None:
    site.export(CONTENT, "op-2")
    problem(site.fetch("op-1"), 404, "no-such-download")
    problem(site.put(b"x", operation="op-2"), 404, "no-such-upload")


def test_only_the_very_file_that_was_exported_is_ever_sent(site: Site) -> None:
    path = site.export(CONTENT)
    secret = site.folder / "secret"
    secret.write_bytes(CONTENT)
    path.unlink()
    problem(site.fetch(), 410, "export-gone")
    path.symlink_to(secret)
    problem(site.fetch(), 410, "export-gone")
    path.unlink()
    site.export(CONTENT).rename(elsewhere := site.folder / "elsewhere")
    path.symlink_to(elsewhere)
    problem(site.fetch(), 410, "export-gone")
    path.unlink()
    path.write_bytes(CONTENT[::-1])
    problem(site.fetch(), 410, "export-gone")
    path.unlink()
    os.mkfifo(path)
    problem(site.fetch(), 410, "export-gone")
    path.unlink()
    path.mkdir()
    problem(site.fetch(), 410, "export-gone")


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "..", ".", "", "a/b"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_bytes(b"x")
    (tmp_path / "exports").mkdir()
    assert ExportedFile.open(tmp_path / "exports", name, []) is None


def test_who_has_the_token_may_have_the_file_taken_away(site: Site) -> None:
    path = site.export(CONTENT)
    problem(site.fetch(token="wrong", method="DELETE"), 404, "no-such-download")
    assert path.exists()
    assert site.fetch(method="DELETE").status_code == 200
    assert not path.exists()
    problem(site.fetch(method="DELETE"), 410, "export-gone")


def test_what_has_taken_the_place_of_the_file_is_not_taken_away(site: Site) -> None:
    path = site.export(CONTENT)
    path.unlink()
    path.write_bytes(b"something else")
    problem(site.fetch(method="DELETE"), 410, "export-gone")
    assert path.exists()


def test_other_methods_are_told_what_there_is(site: Site) -> None:
    site.export(CONTENT)
    answer = site.fetch(method="POST")
    assert problem(answer, 405, "bad-request")["todo"]
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "DELETE"}


def test_a_reader_that_stops_is_left_and_the_file_is_let_go(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_module, "STALL_LIMIT", 1.5)
    path = huge(site)
    with begun(site):
        assert held(path)
        site.wait_for(lambda: not held(path))
    assert site.fetch(Range="bytes=0-9").status_code == 206


def test_of_a_reader_that_has_gone_the_rest_is_not_read(site: Site) -> None:
    path = huge(site)
    with begun(site):
        assert held(path)
    site.wait_for(lambda: not held(path))


def huge(site: Site) -> Path:
    """An exported file that would take minutes to read."""
    path = site.export(b"")
    with path.open("r+b") as file:
        file.truncate(1 << 40)
    site.downloads.slots["op-1"] = type(site.downloads.slots["op-1"])(
        site.folder, path.name, download_file_identity(path), "0" * 64
    )
    return path


@contextmanager
def begun(site: Site) -> Iterator[None]:
    """A download that has begun; the connection is closed at the end."""
    with site.connect() as connection:
        head = f"GET /v1/downloads/op-1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        connection.sendall(head.encode())
        connection.recv(1000)
        yield


def held(path: Path) -> bool:
    """Whether this process has the file open."""
    mine = Path("/proc/self/fd")
    return any(os.path.realpath(one) == str(path) for one in mine.iterdir())


def download_file_identity(path: Path) -> list[int]:
    found = path.lstat()
    return [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns]


def test_while_the_database_is_away_the_client_is_asked_to_come_again(site: Site) -> None:
    site.export(CONTENT)
    site.downloads.away = True
    answer = site.fetch()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


def test_of_a_range_no_digit_is_too_many() -> None:
    assert wanted("bytes=0-" + "9" * 19, 10) == (0, 9)
    assert wanted("bytes=0-" + "9" * 400, 10) is None
    with pytest.raises(Unsatisfiable):
        wanted("bytes=-5", 0)
