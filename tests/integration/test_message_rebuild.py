"""A node on a fresh disk in one operation, and its power, over a real broker."""

from __future__ import annotations

from bmid.handlers.map_node import MapNode
from bmid.handlers.power_node import PowerNode
from bmid.handlers.rebuild_node import RebuildNode
from bmid.handlers.register_node import NodePower
from bmid.handlers.remove_image import RemoveImage
from bmid.handlers.unmap_node import UnmapNode
from bmid.model.entity import BootStage
from bmid.store.view import StoreView
from tests.support.bmid import House
from tests.support.image import MIB, bios_disk


def test_a_rebuilt_node_is_on_a_fresh_disk_under_its_old_address(house: House) -> None:
    project, node = house.project(), house.node()
    with house.nothing_left():
        image, other = house.image(project), house.image(project, bios_disk(mark=b"second"))
        mapped = house.did(MapNode(project=project, node=node, image=image, hostname="web"))
        with house.initiator(mapped) as one:
            one.write(2 * MIB, 512, 0xAB)
        fresh = house.did(RebuildNode(project=project, node=node))
        assert fresh["disk"] != mapped["disk"]
        assert (fresh["address"], fresh["hostname"], fresh["image"]) == (mapped["address"], "web", f"{project}/{image}")
        assert [disk.name for disk in house.disks() if disk.project == project] == [fresh["disk"]]
        with house.initiator(fresh) as one:
            assert one.read(2 * MIB, 512) == bytes(512)
        second = house.did(RebuildNode(project=project, node=node, image=other))
        house.did(RemoveImage(project=project, image=image))  # nothing hangs on it any more
        with house.initiator(second) as one:
            assert one.read(MIB, 512)[:6] == b"second"
        house.did(UnmapNode(project=project, node=node))
        house.did(RemoveImage(project=project, image=other))


def test_a_node_that_runs_or_is_not_ours_or_has_no_disk_keeps_what_it_has(house: House) -> None:
    project, stranger, node, free = house.project(), house.project(), house.node(), house.node()
    image = house.image(project)
    mapped = house.mapped(project, image, node)
    with house.initiator(mapped) as one:
        one.write(2 * MIB, 512, 7)
        with house.nothing_left():
            with one.running():
                assert house.refusal(RebuildNode(project=project, node=node)).slug == "session-live"
            assert house.refusal(RebuildNode(project=stranger, node=node)).slug == "node-of-another-project"
            assert house.refusal(RebuildNode(project=project, node=free)).slug == "node-not-mapped"
            assert house.refusal(RebuildNode(project=project, node=node, image="none")).slug == "image-unknown"
        assert one.read(2 * MIB, 512) == b"\x07" * 512
        with one.running():
            fresh = house.did(RebuildNode(project=project, node=node, force=True))
            assert not one.enters()
    house.did(UnmapNode(project=project, node=node))
    assert fresh["changed"]


def test_power_is_switched_in_the_nodes_order_and_starts_a_watched_boot(house: House) -> None:
    project, stranger = house.project(), house.project()
    node = house.node(power=NodePower(driver="memory", address=house.name("bmc")))

    def switched(action: str, owner: str = project) -> tuple[str, bool]:
        done = house.did(PowerNode(project=owner, node=node, action=action))  # type: ignore[arg-type]
        return done["power"], done["changed"]

    assert switched("on", stranger) == ("on", True), "a free node is anybody's, where nobody gives out nodes"
    assert switched("on") == ("on", False)
    assert switched("off") == ("off", True)
    image = house.image(project)
    house.did(MapNode(project=project, node=node, image=image))
    assert house.refusal(PowerNode(project=stranger, node=node, action="off")).slug == "node-of-another-project"
    assert switched("off") == ("off", True)
    disk = next(one for one in house.disks() if one.node == node)
    with house.database.read() as tx:
        boot = StoreView(tx, 60).boot(disk.id)
    assert boot is not None
    assert (boot.deadline, boot.stage) == (None, BootStage.WAITING), "nobody waits for what was switched off"
    assert switched("cycle") == ("on", True)
    with house.database.read() as tx:
        boot = StoreView(tx, 60).boot(disk.id)
    assert boot is not None
    assert boot.deadline is not None
    house.did(UnmapNode(project=project, node=node))
    assert house.refusal(PowerNode(project=project, node=house.node(), action="on")).slug == "no-power-driver"
