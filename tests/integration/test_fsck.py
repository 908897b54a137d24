"""bmid fsck on real parts: what somebody broke by hand is told, mended if it is ours, and left alone if it isn't."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import rados
import rbd
import structlog
from click.testing import CliRunner, Result
from sqlalchemy import delete

from bmid.cli.main import main
from bmid.handlers.map_node import MapNode
from bmid.model.entity import Disk
from bmid.store import schema, site
from lab.ceph import Ceph
from tests.support.bmid import Builder, House


def run(house: House, *words: str) -> Result:
    """The command as it is typed."""
    try:
        return CliRunner().invoke(main, ["--config", str(house.bmid.config), "fsck", *words])
    finally:
        structlog.reset_defaults()


def fsck(house: House, *words: str) -> tuple[int, list[dict[str, Any]], str]:
    """Exit code, findings, what was said beside them."""
    done = run(house, "-o", "json", *words)
    assert done.stdout, (done.stderr, done.exception)
    return done.exit_code, json.loads(done.stdout)["findings"], done.stderr


def kinds(found: list[dict[str, Any]]) -> Counter[str]:
    """How many of each; a subject may show the gap of its lost event, or may have no event after it."""
    return Counter(one["kind"] for one in found if one["kind"] != "sequence-gap")


@dataclass
class Damage:
    """Nodes, each with something that will be broken; who breaks it has nothing to do with bmid."""

    house: House
    pool: rados.Ioctx
    disks: dict[str, Disk]
    orphan: str = "0" * 31 + "7"

    @property
    def ids(self) -> list[str]:
        """Of a disk that is lost, one without target, one without pointer, one without seed."""
        return list(self.disks)

    def do(self) -> None:
        """Break all of it. bmid is frozen meanwhile: it would put targets back at once."""
        house, (lost, untargeted, unpointed, unseeded) = self.house, self.disks.values()
        for disk in (lost, untargeted):
            house.tgtd.tgtadm("--mode", "target", "--op", "delete", "--tid", str(disk.number), "--force")
            house.tgtd.tgtadm("--mode", "account", "--op", "delete", "--user", disk.id)
        rbd.RBD().remove(self.pool, f"disk-{lost.id}")
        (house.parts.tftp / str(unpointed.address) / "boot.ipxe").unlink()
        (house.folder / "bmid" / "seeds" / f"{unseeded.id}.iso").unlink()
        with house.database.read() as tx:
            own = site.identifier(tx)
        metadata = {"kind": "disk", "site": own, "id": self.orphan, "project": lost.project, "name": "old"}
        house.ports.storage.clone(lost.image, self.orphan, metadata)
        rbd.RBD().create(self.pool, "somebodys", 1 << 20)
        (house.bmid.exports / f".{'c' * 32}.part").write_bytes(b"x")
        house.tgtd.tgtadm("--mode", "target", "--op", "new", "--tid", "999", "--targetname", "iqn.2000-01.other:x")
        told, node = schema.outbox.c.envelope["data"]["node"].as_string(), unseeded.node
        end = delete(schema.outbox).where(schema.outbox.c.type == "bmi.node.mapped.v1", told == node)
        with house.database.write() as tx:
            assert tx.execute(end).rowcount == 1

    def require_mended(self) -> None:
        """All that is ours is back or in the trash, and what isn't stands."""
        house, (lost, *others) = self.house, self.ids
        standing = {one.iqn.rpartition(":")[2]: one for one in house.ports.target.exports("s0")}
        assert all(standing[disk].open for disk in others)
        assert standing["x"].number == 999
        names = rbd.RBD().list(self.pool)
        assert "somebodys" in names
        assert f"disk-{self.orphan}" not in names
        assert f"disk-{self.orphan}" in [one["name"] for one in rbd.RBD().trash_list(self.pool)]
        assert all(one.complete for one in house.ports.boot.pointers() if one.disk != lost)
        assert not list(house.bmid.exports.glob(".*"))


@pytest.fixture
def damage(builder: Builder, ceph: Ceph) -> Iterator[Damage]:
    """A house whose nodes are mapped, and nothing is broken yet."""
    house = builder.house(ceph=True, postgresql=False, dnsmasq=True, settings={"engine": {"quarantine": 0.0}})
    project = house.project()
    image = house.image(project)
    for _ in range(4):
        house.did(MapNode(project=project, node=house.node(), image=image, user_data="#!/bin/sh\n"))
    cluster = rados.Rados(conffile=str(ceph.conf), rados_id="bmi")
    cluster.connect(timeout=10)
    pool = cluster.open_ioctx(str(house.parts.settings["storage.rbd"]["pool"]))
    yield Damage(house, pool, {one.id: one for one in house.disks()})
    pool.close()
    cluster.shutdown()


FOUND = {"disk-missing": 1, "disk-orphaned": 1, "end-missing": 1, "export-left": 1, "pointer-missing": 1,
         "position-gap": 1, "seed-missing": 1, "stranger": 2, "target-missing": 2}  # fmt: skip


def test_what_was_broken_by_hand_is_told_and_mended_or_left(damage: Damage) -> None:
    """Each kind of damage, all at once; in the end only that is left which nobody can mend."""
    house, lost = damage.house, damage.ids[0]
    assert fsck(house)[:2] == (0, [])
    house.bmid.freeze()
    damage.do()
    code, found, _ = fsck(house)
    assert (code, kinds(found)) == (1, FOUND)
    assert all(one["what"] and one["why"] and one["since"] and one["todo"] for one in found)
    assert {one["subject"] for one in found if one["kind"] == "stranger"} == {"somebodys", "iqn.2000-01.other:x"}
    code, some, _ = fsck(house, "--only", "stranger")
    assert (code, kinds(some)) == (1, {"stranger": 2})
    assert kinds(fsck(house)[1]) == FOUND, "looking changes nothing"
    house.bmid.thaw()
    _, found, told = fsck(house, "--repair")
    assert "done" in told
    # What nobody knows has been seen once by now. Nobody can export the disk that is gone, though bmid goes on trying.
    left = Counter({"disk-missing": 1, "disk-orphaned": 1, "end-missing": 1, "export-left": 1, "position-gap": 1,
                    "stranger": 2})  # fmt: skip
    assert kinds([one for one in found if (one["subject"], one["kind"][:6]) != (lost, "target")]) == left
    _, found, _ = fsck(house, "--repair")
    left -= Counter({"disk-orphaned": 1, "export-left": 1})
    assert kinds([one for one in found if one["subject"] != lost]) == left - Counter({"disk-missing": 1})
    damage.require_mended()


def test_a_part_that_is_down_is_named_and_is_no_finding(builder: Builder) -> None:
    """Exits as sysexits say: nobody can tell. Where no daemon runs nothing can be mended, and that is said."""
    house = builder.house(ceph=False, postgresql=False, start=False)
    house.bmid.run("migrate")
    assert fsck(house)[:2] == (0, [])
    house.tgtd.kill()
    assert fsck(house)[:2] == (69, [])
    done = run(house, "--repair")
    assert done.exit_code == 69
    assert "no head is alive" in done.output


def test_a_kind_that_there_is_not_is_a_usage_error() -> None:
    assert CliRunner().invoke(main, ["fsck", "--only", "nonsense"]).exit_code == 2
