"""`bmid run --sandbox` on a real broker: what another service develops against behaves as the real thing does."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from bmi_publish import Client, State
from bmid.handlers.import_image import ImageSource, ImportImage
from bmid.handlers.map_node import MapNode
from bmid.handlers.register_node import NodePower, RegisterNode
from bmid.handlers.unmap_node import UnmapNode
from bmid.messages.operation import OperationAccepted
from lab.rabbitmq import RabbitMQ
from tests.support.listener import Listener
from tests.support.sandbox import Sandbox, sandbox

MAPPED = MapNode(project="p1", node="n1", image="debian-12")


@pytest.fixture(scope="module")
def site(rabbitmq: RabbitMQ, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One sandbox with the example for this module, in which nodes boot quickly."""
    with sandbox(tmp_path_factory.mktemp("sandbox"), rabbitmq, "--example", "--boot-delay", "0.5") as made:
        yield made


def node(name: str, power: bool = True, **labels: str) -> RegisterNode:
    """A node of the test's own, with labels."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    bmc = NodePower(driver="redfish", address=f"https://bmc-{name}.example") if power else None
    mac = "02:" + ":".join(digest[place : place + 2] for place in range(0, 10, 2))
    named = {f"sandbox.{key.replace('_', '-')}": value for key, value in labels.items()}
    return RegisterNode(node=name, macs=(mac,), power=bmc, labels=named)


def test_the_first_message_to_the_example_boots_a_node(site: Sandbox) -> None:
    """Project, image and nodes are there, and the boot is judged by log-ins as a real one is."""
    [result] = site.did(MAPPED, booted=True)
    assert result.event is not None
    assert result.event.data["attempt"] == 1
    assert {"firmware", "initramfs", "booted"} <= result.event.data["evidence"].keys()
    assert 0.3 < result.event.data["seconds"] < 60
    site.did(UnmapNode(project="p1", node="n1"))


def test_a_node_that_was_unmapped_boots_again_on_its_next_disk(site: Sandbox) -> None:
    """It was switched off in between, so nothing of the first boot is left to be taken for the second."""
    command = MapNode(project="p1", node="n2", image="debian-12")
    [first] = site.did(command, booted=True)
    [gone] = site.did(UnmapNode(project="p1", node="n2"))
    [second] = site.did(command, booted=True)
    assert first.event
    assert gone.event
    assert second.event
    assert gone.event.data["power"] == "off"
    assert second.event.data["disk"] != first.event.data["disk"] == gone.event.data["disk"]
    assert second.event.data["attempt"] == 1


def test_a_node_without_power_boots_by_itself_and_is_not_taken_away_from_under_its_system(site: Sandbox) -> None:
    """As if somebody stood beside it; unmapping it while it runs is refused, as for a real one."""
    site.did(node("handmade", power=False), MapNode(project="p1", node="handmade", image="debian-12"))
    [booted] = site.did(MapNode(project="p1", node="handmade", image="debian-12"), booted=True)
    assert booted.ok
    [refused] = site.do(UnmapNode(project="p1", node="handmade"))
    assert refused.problem is not None
    assert (refused.state, refused.problem.slug) == (State.REFUSED, "session-live")
    site.did(UnmapNode(project="p1", node="handmade", force=True))


@pytest.mark.parametrize("size", [1, 3_000_000])
def test_any_file_is_an_image_and_boots_in_both_modes(site: Sandbox, tmp_path: Path, size: int) -> None:
    """Bytes are looked at and then forgotten: no service needs a real disk to be developed."""
    token, file = secrets.token_urlsafe(16), tmp_path / "any.img"
    file.write_bytes(secrets.token_bytes(size))
    upload = ImageSource(upload=hashlib.sha256(token.encode()).hexdigest())
    with Client(site.url, source="/tests") as client, Client(site.url, source="/tests") as sender:

        def send(event: object) -> None:
            if getattr(event, "type", "") == OperationAccepted.type:
                sender.upload(event.data["upload"], token, file)  # type: ignore[attr-defined]

        command = ImportImage(project="p1", image=f"any-{size}", source=upload)
        result = client.wait(command, 30, on_event=send)
    assert result.ok, result
    assert result.event is not None
    assert result.event.data["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert result.event.data["firmware"] == ["bios", "uefi"]


@pytest.mark.parametrize("words", ["clone", "export,discard", "boot", "power"])
def test_a_label_makes_a_step_fail_and_what_was_done_is_undone(site: Sandbox, words: str) -> None:
    """The failure is a real one: the plan goes back, and without the label the next try works."""
    word = words.partition(",")[0]
    name = f"f-{word}"
    site.did(node(name, fail=words))
    command = MapNode(project="p1", node=name, image="debian-12")
    [failed] = site.do(command)
    assert failed.problem is not None
    assert (failed.state, failed.problem.slug) == (State.FAILED, "sandbox-fault"), failed
    assert failed.problem.step is not None
    assert f"sandbox.fail={word}" in failed.problem.detail
    site.did(node(name), command)


def test_a_label_keeps_a_node_from_a_project(site: Sandbox) -> None:
    """As an isolation layer would: refused, with nothing done."""
    site.did(node("foreign", fail="isolation"))
    [refused] = site.do(MapNode(project="p1", node="foreign", image="debian-12"))
    assert refused.problem is not None
    assert (refused.state, refused.problem.slug) == (State.REFUSED, "node-not-allocated")


def test_a_transient_fault_is_tried_again_until_it_is_over(site: Sandbox) -> None:
    """Several at once, and a delay: the operation takes its time, and then it is done."""
    site.did(node("shaky", fail="export:transient,boot:transient", delay="0.5"))
    site.did(MapNode(project="p1", node="shaky", image="debian-12"), booted=True)
    assert "node shaky has the label sandbox.fail=export:transient" in site.log


def test_an_unknown_word_fails_the_operation_and_says_which_there_are(site: Sandbox) -> None:
    """A typing error isn't taken for a node that works."""
    site.did(node("typo", fail="exprot"))
    [failed] = site.do(MapNode(project="p1", node="typo", image="debian-12"))
    assert failed.problem is not None
    assert failed.problem.slug == "sandbox-label"
    assert "there are clone, snapshot, discard, export" in failed.problem.detail


def test_a_node_that_never_boots_is_told_of_after_its_attempts(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    """And one whose first boot alone fails comes up at the second attempt. Both are soon too late here."""
    soon = {"BMID_BOOT__DEADLINE": "5"}
    with sandbox(tmp_path, rabbitmq, "--example", environment=soon) as site:
        site.did(node("dead", fail="boot-never"), node("slow", fail="boot-never:transient", boot_delay="0.2"))
        commands = [MapNode(project="p1", node=name, image="debian-12") for name in ("dead", "slow")]
        dead, slow = site.do(*commands, booted=True)
    assert slow.ok, slow
    assert slow.event is not None
    assert slow.event.data["attempt"] == 2
    assert not dead.ok
    assert dead.event is not None
    assert (dead.event.type, dead.event.data["stage"]) == ("bmi.node.boot-failed.v1", "waiting")


def test_a_named_folder_outlives_a_crash_and_its_nodes_go_on(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    """Memory forgets; what the rows speak of is there again, and a repeated message still has no second effect."""
    folder = tmp_path / "state"
    with sandbox(tmp_path, rabbitmq, "--example", "--boot-delay", "0.2", "--folder", folder) as site:
        with Client(site.url, source="/tests") as client:
            ticket = client.ticket(MAPPED)
            first = client.wait(ticket, 30)
            site.process.kill()
            site.start()
            again = client.wait(ticket, 30)
        assert first.event
        assert again.event
        assert again.event.data == first.event.data
        site.did(UnmapNode(project="p1", node="n1"), MAPPED)
        with Listener(site.url) as listener:
            site.did(MapNode(project="p1", node="n1", image="debian-12"), booted=True)
            assert not [one for one in listener.heard if one.type == "bmi.node.boot-failed.v1"]
