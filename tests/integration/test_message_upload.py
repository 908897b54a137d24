"""Uploads, from the command to the golden image: the right token opens them, nothing else, and none stays for ever."""

from __future__ import annotations

import httpx
import pytest

from bmi_publish import State
from bmid.handlers.import_image import ImportImage
from bmid.messages.operation import OperationAccepted
from tests.support.bmid import Builder, House, new_token
from tests.support.image import bios_disk


def test_a_wrong_token_opens_nothing_and_the_right_one_still_does(house: House) -> None:
    project = house.project()
    token, sha256 = new_token()
    answers = []

    def try_others(address: str) -> None:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Bearer {sha256}"}):
            answers.append(httpx.put(address, content=b"x", headers=headers).status_code)
        elsewhere = address.rpartition("/")[0] + "/" + "0" * 32
        answers.append(httpx.put(elsewhere, content=b"x", headers={"Authorization": f"Bearer {token}"}).status_code)

    command = ImportImage(project=project, image="i", source={"upload": sha256})
    result = house.upload(command, token, bios_disk(), try_others)
    assert answers == [401, 404, 404, 404]
    assert result.ok, result.problem


def test_neither_token_nor_its_digest_is_in_any_event_or_log(house: House) -> None:
    project = house.project()
    token, sha256 = new_token()
    with house.listener() as heard:
        command = ImportImage(project=project, image="i", source={"upload": sha256})
        result = house.upload(command, token, bios_disk())
        heard.until(lambda: heard.of(result.ticket.id, "bmi.image.imported.v1"))
        said = str([one.data for one in heard.of(result.ticket.id)])
    assert token not in said
    assert sha256 not in said
    log = house.bmid.process.log.read_text()
    assert token not in log
    assert sha256 not in log


def test_what_was_uploaded_is_gone_when_the_import_fails(house: House) -> None:
    project = house.project()
    token, sha256 = new_token()
    with house.nothing_left():
        command = ImportImage(project=project, image="i", source={"upload": sha256}, sha256="0" * 64)
        result = house.upload(command, token, bios_disk())
        assert result.state is State.FAILED
        assert result.problem is not None
        assert result.problem.slug == "digest-mismatch"


@pytest.mark.parametrize("on_ceph", [False, True], ids=["folder-sqlite", "ceph-postgresql"])
def test_an_abandoned_upload_is_given_up_at_its_deadline(builder: Builder, on_ceph: bool) -> None:
    house = builder.house(ceph=on_ceph, postgresql=on_ceph, settings={"images": {"upload_deadline": 1.0}})
    project = house.project()
    token, sha256 = new_token()
    addresses = []

    def hear(event) -> None:  # type: ignore[no-untyped-def]
        if event.type == OperationAccepted.type:
            addresses.append(event.data["upload"])

    with house.nothing_left():
        command = ImportImage(project=project, image="i", source={"upload": sha256})
        result = house.ask(command, 60, on_event=hear)
        assert result.state is State.FAILED
        assert result.problem is not None
        assert result.problem.slug == "deadline-passed"
        assert result.problem.todo
        late = httpx.put(addresses[0], content=b"x", headers={"Authorization": f"Bearer {token}"})
        assert late.status_code == 404
    assert house.image(project)
