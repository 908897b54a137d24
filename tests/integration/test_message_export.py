"""Exports of golden images: whole or not there, never over anything, and fetched by whoever has the token alone."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import httpx
import pytest

from bmi_publish import State
from bmid.handlers.export_image import ExportImage, ExportPlace
from bmid.handlers.place import RbdImage
from bmid.handlers.remove_image import RemoveImage
from tests.support.bmid import Builder, House, new_token
from tests.support.full import small
from tests.support.image import MIB, bios_disk
from tests.support.strange import STRANGE, content, foreign


def raw(file: Path, folder: Path) -> bytes:
    """What is in a qcow2 file."""
    out = folder / "out.raw"
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(file), str(out)], check=True)
    return out.read_bytes()


def to_pool(name: str, pool: str = STRANGE) -> ExportPlace:
    return ExportPlace(rbd=RbdImage(pool=pool, image=name))


@pytest.mark.parametrize("form", ["raw", "qcow2"])
def test_an_exported_file_holds_the_image_and_is_alone_in_the_folder(house: House, form: str, tmp_path: Path) -> None:
    project = house.project()
    image, name = house.image(project, bios_disk() + os.urandom(MIB)), house.name("out")
    before = set(house.bmid.exports.iterdir())
    said = house.did(ExportImage(project=project, image=image, to=ExportPlace(file=name, format=form)))
    file = house.bmid.exports / name
    assert set(house.bmid.exports.iterdir()) - before == {file}
    whole = file.read_bytes()
    assert (said["size"], said["sha256"]) == (len(whole), hashlib.sha256(whole).hexdigest())
    assert (said["file"], said["format"], "url" in said, "rbd" in said) == (name, form, False, False)
    disk = whole if form == "raw" else raw(file, tmp_path)
    assert disk[: 4 * MIB] == bios_disk()
    assert len(disk) == 5 * MIB
    house.did(RemoveImage(project=project, image=image))
    assert file.exists()


@pytest.mark.parametrize("what", ["file", "folder", "dangling link", "link"])
def test_nothing_in_the_export_folder_is_ever_overwritten(house: House, what: str, tmp_path: Path) -> None:
    project = house.project()
    image, path, aim = house.image(project), house.bmid.exports / house.name("out"), tmp_path / "aim"
    if what == "file":
        path.write_bytes(b"precious")
    elif what == "folder":
        path.mkdir()
    else:
        aim.write_bytes(b"precious")
        path.symlink_to(aim if what == "link" else tmp_path / "nowhere")
    command = ExportImage(project=project, image=image, to=ExportPlace(file=path.name))
    with house.nothing_left():
        problem = house.refusal(command)
        assert problem.slug == "export-exists"
        assert path.name in problem.detail
    assert not (tmp_path / "nowhere").exists()
    if what in ("file", "link"):
        assert path.read_bytes() == b"precious"
    path.rmdir() if what == "folder" else path.unlink()
    house.did(command)


def test_two_exports_to_one_name_are_one_file_and_one_refusal(house: House) -> None:
    project = house.project()
    images = [house.image(project, bios_disk(mark=mark)) for mark in (b"first", b"other")]
    name, client = house.name("out"), house.client()
    place = ExportPlace(file=name, format="raw")
    tickets = [client.ticket(ExportImage(project=project, image=image, to=place)) for image in images]
    results = client.wait_all(tickets, 60)
    [lost] = [result for result in results if not result.ok]
    assert lost.problem is not None
    assert lost.problem.slug == "export-exists"
    [won] = [result for result in results if result.ok]
    assert won.event is not None
    whole = (house.bmid.exports / name).read_bytes()
    assert won.event.data["sha256"] == hashlib.sha256(whole).hexdigest()
    assert list(house.bmid.exports.glob(".*")) == []


def test_an_image_of_another_project_is_not_exported(house: House) -> None:
    owner, other = house.project(), house.project()
    image = house.image(owner)
    with house.nothing_left():
        command = ExportImage(project=other, image=image, to=ExportPlace(file=house.name("out")))
        assert house.refusal(command).slug == "image-unknown"
        command = ExportImage(project=owner, image=image, to=to_pool("x", "bmi"))
        assert house.refusal(command, State.REJECTED).slug == "pool-not-listed"


def test_an_image_goes_to_a_pool_that_is_listed_once(ceph_house: House) -> None:
    house, project = ceph_house, ceph_house.project()
    conf = house.parts.ceph_conf
    assert conf is not None
    image, name = house.image(project), house.name("out")
    said = house.did(ExportImage(project=project, image=image, to=to_pool(name)))
    assert (said["rbd"], said["size"], said["sha256"]) == (f"{STRANGE}/{name}", 4 * MIB, "")
    assert content(conf, name) == bios_disk()
    foreign(conf, taken := house.name("out"), b"precious")
    with house.nothing_left():
        for known in (name, taken):
            problem = house.refusal(ExportImage(project=project, image=image, to=to_pool(known)))
            assert problem.slug == "export-exists"
    assert content(conf, taken) == b"precious"
    house.did(RemoveImage(project=project, image=image))
    assert content(conf, name) == bios_disk()


def test_an_export_to_a_disk_that_is_full_ends_and_leaves_nothing_and_the_next_try_works(builder: Builder) -> None:
    house = builder.house(ceph=False, postgresql=False, settings={"engine": {"give_up_after": 3}})
    project = house.project()
    image = house.image(project, os.urandom(4 * MIB))
    command = ExportImage(project=project, image=image, to=ExportPlace(file="out"))
    with small(house.bmid.exports, "1m"), house.nothing_left():
        problem = house.refusal(command, State.FAILED, 60)
        assert problem.slug == "no-space"
        assert list(house.bmid.exports.iterdir()) == []
    house.did(command)


def test_a_site_without_an_export_folder_says_so(builder: Builder) -> None:
    house = builder.house(ceph=False, postgresql=False, start=False)
    text = house.bmid.config.read_text()
    house.bmid.configure = lambda: None  # type: ignore[method-assign]
    house.bmid.config.write_text("".join(line for line in text.splitlines(True) if "export_folder" not in line))
    house.start()
    project = house.project()
    command = ExportImage(project=project, image=house.image(project), to=ExportPlace(file="out"))
    with house.nothing_left():
        assert house.refusal(command, State.FAILED).slug == "exports-disabled"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_an_exported_file_is_fetched_with_its_token_and_with_no_other(house: House) -> None:
    project, (token, digest) = house.project(), new_token()
    image, name = house.image(project), house.name("out")
    with house.listener() as heard:
        result = house.ask(ExportImage(project=project, image=image, to=ExportPlace(file=name, token=digest)))
        heard.until(lambda: heard.of(result.ticket.id, "bmi.image.exported.v1"))
        told = str([one.data for one in heard.of(result.ticket.id)])
    assert result.event is not None
    said = result.event.data
    answer = httpx.get(said["url"], headers=bearer(token))
    assert answer.status_code == 200
    assert hashlib.sha256(answer.content).hexdigest() == said["sha256"]
    assert answer.content == (house.bmid.exports / name).read_bytes()
    part = httpx.get(said["url"], headers={**bearer(token), "Range": "bytes=3-9"})
    assert (part.status_code, part.content) == (206, answer.content[3:10])
    head = httpx.head(said["url"], headers=bearer(token))
    assert (head.status_code, head.headers["content-length"]) == (200, str(said["size"]))
    refused = [httpx.get(said["url"], headers=bearer(other)).status_code for other in ("wrong", digest)]
    assert [httpx.get(said["url"]).status_code, *refused] == [401, 404, 404]
    log = house.bmid.process.log.read_text()
    for secret in (token, digest):
        assert secret not in told
        assert secret not in log


def test_without_a_token_or_before_its_end_or_after_a_failure_nothing_is_fetched(house: House) -> None:
    """Not the file of an export without token, not what is refused, and nothing of an upload."""
    project, (token, digest) = house.project(), new_token()
    image, name = house.image(project), house.name("out")
    plain = house.did(ExportImage(project=project, image=image, to=ExportPlace(file=name)))
    refused = house.ask(ExportImage(project=project, image=image, to=ExportPlace(file=name, token=digest)))
    assert refused.state is State.REFUSED
    planned = house.did(
        ExportImage(project=project, image=image, to=ExportPlace(file=house.name("out"), token=digest), dry_run=True)
    )
    kept = house.did(ExportImage(project=project, image=image, to=ExportPlace(file=house.name("out"), token=digest)))
    base = kept["url"].rpartition("/")[0]
    for operation in (plain["operation"], refused.operation, planned["operation"]):
        assert httpx.get(f"{base}/{operation}", headers=bearer(token)).status_code == 404
    assert httpx.get(kept["url"], headers=bearer(token)).status_code == 200
    (house.bmid.exports / kept["file"]).unlink()
    assert httpx.get(kept["url"], headers=bearer(token)).status_code == 410
