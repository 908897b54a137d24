"""Groups of nodes, dry runs and commands that expire, over a real broker."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from bmi_publish import State
from bmid.handlers.import_image import ImageSource, ImportImage
from bmid.handlers.map_node import MapNode
from bmid.handlers.power_node import PowerNode
from bmid.handlers.register_node import NodePower
from bmid.handlers.remove_image import RemoveImage
from bmid.handlers.snapshot_node import SnapshotNode
from bmid.handlers.unmap_node import UnmapNode
from bmid.messages.base import Command
from tests.support.bmid import House, new_token

FINISHED = "bmi.group.finished.v1"


def powered(house: House) -> str:
    """A new node with a power driver that is always there."""
    return house.node(power=NodePower(driver="memory", address=house.name("bmc")))


def test_a_group_is_mapped_copied_cycled_and_unmapped_with_one_command_each(house: House) -> None:
    project, nodes = house.project(), tuple(powered(house) for _ in range(3))
    image = house.image(project)
    steps: list[tuple[Command, str]] = [
        (MapNode(project=project, nodes=nodes, image=image, power="none"), "bmi.node.mapped.v1"),
        (SnapshotNode(project=project, nodes=nodes, image="snap"), "bmi.image.created.v1"),
        (PowerNode(project=project, nodes=nodes, action="cycle"), "bmi.node.powered.v1"),
        (UnmapNode(project=project, nodes=nodes), "bmi.node.unmapped.v1"),
    ]
    with house.nothing_left():
        for command, outcome in steps:
            with house.listener() as heard:
                ticket = house.ticket(command)
                assert house.client().wait(ticket, 60).ok
                heard.until(lambda ticket=ticket: heard.of(ticket.id, FINISHED))
                mine = [one for one in heard.heard if one.correlationid == ticket.correlation]
            ends = [one for one in mine if one.type == outcome]
            assert sorted(one.data["node"] for one in ends) == sorted(nodes)
            assert mine[-1].type == FINISHED, "the summary comes last"
            assert [one.type for one in mine].count(FINISHED) == 1
        for node in nodes:
            house.did(RemoveImage(project=project, image=f"snap-{node}"))


def test_some_that_fail_stop_nobody_and_the_group_says_who(house: House) -> None:
    project, stranger = house.project(), house.project()
    good, taken = house.node(), house.node()
    house.mapped(stranger, house.image(stranger), taken)
    group = MapNode(project=project, nodes=(good, taken, "nobody"), image=house.image(project))
    result = house.ask(group)
    assert (result.state, result.exit_code) == (State.FAILED, 1)
    assert result.problem is not None
    assert result.problem.extra["nodes"] == [taken, "nobody"]
    assert result.event is not None
    members = {one["node"]: one for one in result.event.data["members"]}
    assert members[taken]["problem"]["type"] == "urn:bmi:problem:disk-in-place"
    assert members[good]["phase"] == "succeeded"
    assert [disk.node for disk in house.disks() if disk.project == project] == [good]
    unmapped = house.ask(UnmapNode(project=project, nodes=(good, taken)))
    assert unmapped.problem is not None
    assert unmapped.problem.extra["nodes"] == [taken], "somebody else's node"
    house.did(UnmapNode(project=stranger, node=taken))


def test_a_group_that_is_sent_twice_has_one_effect_and_is_answered_with_its_end(house: House) -> None:
    project, nodes = house.project(), (house.node(), house.node())
    ticket = house.ticket(MapNode(project=project, nodes=nodes, image=house.image(project)))
    with house.listener() as heard:
        for copy in (1, 2, 3):
            house.client().publish(ticket)
            heard.until(lambda copy=copy: len(heard.of(ticket.id, FINISHED)) == copy)
        assert len({one.id for one in heard.of(ticket.id, FINISHED)}) == 1
    assert len([disk for disk in house.disks() if disk.project == project]) == 2
    assert house.ask(UnmapNode(project=project, nodes=nodes)).ok


def test_a_dry_run_changes_nothing_and_tells_no_secret(house: House) -> None:
    project, nodes = house.project(), (house.node(), house.node())
    image = house.image(project)
    secret = "#cloud-config\npassword: hunter2\n"
    with house.listener() as heard, house.nothing_left():
        one = house.ask(MapNode(project=project, node=nodes[0], image=image, user_data=secret, dry_run=True))
        assert one.ok
        assert one.event is not None
        assert one.event.type == "bmi.operation.planned.v1"
        assert "clone-disk" in [step["step"] for step in one.event.data["steps"]]
        group = house.ask(MapNode(project=project, nodes=nodes, image=image, user_data=secret, dry_run=True))
        assert group.ok
        heard.until(lambda: [event.type for event in heard.heard].count("bmi.operation.planned.v1") == 3)
        assert "hunter2" not in str([event.data for event in heard.heard])


def test_what_has_expired_fails_at_once_also_behind_something_long(house: House) -> None:
    project = house.project()
    _, digest = new_token()
    long = house.ticket(ImportImage(project=project, image="slow", source=ImageSource(upload=digest)))
    with house.listener() as heard:
        house.client().publish(long)  # nobody uploads: it waits, and holds the name
        heard.until(lambda: heard.of(long.id, "bmi.operation.accepted.v1"))
        past = datetime.now(UTC) - timedelta(seconds=1)
        problem = house.refusal(RemoveImage(project=project, image="slow", expires_at=past), seconds=20)
        assert problem.slug == "expired"
        soon = datetime.now(UTC) + timedelta(seconds=2)
        problem = house.refusal(RemoveImage(project=project, image="slow", expires_at=soon), seconds=20)
        assert problem.slug == "expired"
        assert heard.of(long.id, "bmi.operation.failed.v1") == []
