"""How the commands to nodes and disks come to run, for tests that interrupt them."""

from __future__ import annotations

from typing import Any

from bmid.engine.submission import Submission
from bmid.handlers.move_portal import MovePortal
from bmid.handlers.restore_export import RestoreExport
from bmid.handlers.retry_boot import RetryBoot
from bmid.model.operation import Operation
from bmid.store import operations
from tests.support.bench import Bench
from tests.support.recipe import Recipe, public

__all__ = ["DISK_RECIPES", "NODE_RECIPES"]

P1 = {"project": "p1"}
N1 = {"project": "p1", "node": "n1"}
D1 = {"project": "p1", "disk": "d1"}
GROUP = {"project": "p1", "nodes": ["n1", "n2"]}
SEED = {"hostname": "web", "user_data": "#!/bin/sh\n"}


def _mapped(bench: Bench, **more: Any) -> None:
    bench.furnish("n1")
    bench.do("node.map", **N1, image="debian", **more)


def _seeded(bench: Bench) -> None:
    _mapped(bench, **SEED)


def _mapped_quiet(bench: Bench) -> None:
    """A node without power whose session is dead but listed, as after a power cut."""
    bench.furnish("n1", power=False)
    bench.do("node.map", **N1, image="debian")
    _log_in(bench, alive=False)


def _running(bench: Bench) -> None:
    _mapped(bench)
    _log_in(bench, alive=True)


def _log_in(bench: Bench, alive: bool) -> None:
    disk = bench.view().disks()[0]
    secret = bench.ports().secret(disk.id, disk.generation)
    bench.target.log_in(disk.shard, disk.number, address=disk.address, user=disk.id, secret=secret)
    bench.boot.answering[disk.address] = alive


def _switched_off(bench: Bench) -> None:
    _mapped(bench)
    bench.do("node.power", **N1, action="off")


def _forgotten(bench: Bench) -> None:
    _mapped(bench)
    bench.target.restart("0")


def _created(bench: Bench) -> None:
    bench.furnish("n1")
    bench.do("disk.create", **D1, image="debian")


def _parked(bench: Bench) -> None:
    """A disk d1 that was on n1, with a seed."""
    _created(bench)
    bench.do("node.map", **N1, disk="d1")
    bench.do("node.unmap", **N1, disk="park")


def _parked_seeded(bench: Bench) -> None:
    _seeded(bench)
    bench.do("node.unmap", **N1, disk="park")


def _discarded(bench: Bench) -> None:
    """A disk with a seed in the trash, that a node was on."""
    _seeded(bench)
    bench.do("node.unmap", **N1)


def _two(bench: Bench) -> None:
    bench.furnish("n1", "n2")


def _two_mapped(bench: Bench) -> None:
    _two(bench)
    bench.do("node.map", **GROUP, image="debian")


def _resume(bench: Bench) -> Operation:
    return bench.command("node.map", **N1, disk=bench.view().disks()[0].name)


def _restore_disk(bench: Bench, **more: Any) -> Operation:
    [gone] = bench.view().trashed("p1", "disk")
    return bench.command("disk.restore", project="p1", disk=gone.name, **more)


def _retry(bench: Bench) -> Operation:
    bench.clock.advance(bench.site.boot_deadline)
    return bench.submit(RetryBoot(node="n1", disk=bench.view().node("n1").disk))


def _restore(bench: Bench) -> Operation:
    return bench.submit(RestoreExport(node="n1", disk=bench.view().node("n1").disk))


def _move(bench: Bench) -> Operation:
    """As one that takes over writes it down: the rows have moved, the exports are to follow."""
    submission = Submission(bench.registry, "h1", "/bmid/h1")
    move = MovePortal(address="10.77.0.1", portals=("10.77.0.1:3260",), origin="h0", head="h1", why="dead")
    restore = RestoreExport(node="n1", disk=bench.view().node("n1").disk)
    with bench.database.write() as tx:
        group = operations.find(tx, submission.submit(tx, move))
        submission.submit(tx, restore, group)
    assert group is not None
    return group


NODE_RECIPES: dict[str, list[Recipe]] = {
    "bmi.node.register.v1": [Recipe("register", public("node.register", node="n2", macs=["52:54:00:00:00:02"]))],
    "bmi.node.maintenance.v1": [
        Recipe("on", public("node.maintenance", node="n1", action="on", reason="a fan is loud"))
    ],
    "bmi.node.remove.v1": [Recipe("remove", public("node.remove", node="n1"))],
    "bmi.node.map.v1": [
        Recipe("cycle", public("node.map", **N1, image="debian")),
        Recipe("no-power", public("node.map", **N1, image="debian", power="none")),
        Recipe("seed", public("node.map", **N1, image="debian", **SEED)),
        Recipe("disk", public("node.map", **N1, disk="d1"), _created),
        Recipe("resume", _resume, _parked_seeded),
        Recipe("group", public("node.map", **GROUP, image="debian"), _two),
    ],
    "bmi.node.unmap.v1": [
        Recipe("power", public("node.unmap", **N1), _mapped),
        Recipe("quiet", public("node.unmap", **N1), _mapped_quiet),
        Recipe("force", public("node.unmap", **N1, force=True), _mapped_quiet),
        Recipe("park", public("node.unmap", **N1, disk="park"), _seeded),
        Recipe("group", public("node.unmap", **GROUP), _two_mapped),
    ],
    "bmi.node.snapshot.v1": [
        Recipe("quiet", public("node.snapshot", **N1, image="new"), _mapped_quiet),
        Recipe("running", public("node.snapshot", **N1, image="new", crash_consistent=True), _running),
        # Sent again it is refused for those of the nodes that have their image already.
        Recipe("group", public("node.snapshot", **GROUP, image="new"), _two_mapped, again=False),
    ],
    "bmi.node.rebuild.v1": [
        Recipe("power", public("node.rebuild", **N1), _seeded),
        Recipe("quiet", public("node.rebuild", **N1, ssh_keys=[]), _mapped_quiet),
        Recipe("force", public("node.rebuild", **N1, force=True, power="none"), _running),
    ],
    "bmi.node.power.v1": [
        Recipe("on", public("node.power", **N1, action="on"), _switched_off),
        Recipe("off", public("node.power", **N1, action="off"), _mapped),
        Recipe("cycle", public("node.power", **N1, action="cycle"), _mapped),
        Recipe("free", public("node.power", **N1, action="on")),
        Recipe("group", public("node.power", **GROUP, action="cycle"), _two_mapped),
    ],
    "bmi.export.restore.v1": [Recipe("restore", _restore, _forgotten)],
    "bmi.portal.move.v1": [Recipe("move", _move, _forgotten)],
    "bmi.boot.retry.v1": [Recipe("retry", _retry, _mapped)],
}
DISK_RECIPES: dict[str, list[Recipe]] = {
    "bmi.disk.create.v1": [Recipe("create", public("disk.create", **D1, image="debian"))],
    "bmi.disk.remove.v1": [
        Recipe("remove", public("disk.remove", **D1), _created),
        Recipe("parked", public("disk.remove", **D1), _parked),
    ],
    "bmi.disk.restore.v1": [
        Recipe("restore", _restore_disk, _discarded),
        Recipe("renamed", lambda bench: _restore_disk(bench, name="again"), _discarded),
    ],
    "bmi.disk.snapshot.v1": [Recipe("snapshot", public("disk.snapshot", **D1, image="new"), _parked)],
}
