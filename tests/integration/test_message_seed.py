"""What a new system is told stands beside its disk for its node alone; what may be secret in it is told nobody else."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

from pycdlib import PyCdlib
from sqlalchemy import select

from bmi_publish import State
from bmi_publish.ticket import Ticket
from bmid.care.repair import Repair
from bmid.handlers.list_disks import ListDisks
from bmid.handlers.list_nodes import ListNodes
from bmid.handlers.list_operations import ListOperations
from bmid.handlers.map_node import MapNode
from bmid.handlers.show_disk import ShowDisk
from bmid.handlers.show_node import ShowNode
from bmid.handlers.show_operation import ShowOperation
from bmid.handlers.unmap_node import UnmapNode
from bmid.settings_file import load
from bmid.store import schema
from tests.support.bmid import Builder, House
from tests.support.initiator import Initiator

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKQzabzTF3O/gu99O1X87szLn/VwJ9IZe0tD7WRUQCLs alice"
SECRET = "correct-horse-battery-staple"
USER_DATA = f"#cloud-config\nchpasswd: {{list: 'root:{SECRET}'}}\n"
NETWORK = f"version: 2\nwifis: {{w0: {{access-points: {{home: {{password: {SECRET}}}}}}}}}\n"


def volume(node: Initiator) -> dict[str, str] | None:
    """The files on the second LUN of a node's target; None where there is none, or nobody is let in."""
    with tempfile.NamedTemporaryFile() as copy:
        url = node.url.rpartition("/")[0] + "/2"
        command = ["qemu-img", "convert", "-f", "raw", "-O", "raw", url, copy.name]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        if done.returncode:
            return None
        disk, files = PyCdlib(), {}
        disk.open(copy.name)
        for child in disk.list_children(rr_path="/"):
            if child.is_file():
                name, out = child.rock_ridge.name().decode(), BytesIO()
                disk.get_file_from_iso_fp(out, rr_path=f"/{name}")
                files[name] = out.getvalue().decode()
        disk.close()
        return files


def told(house: House, mapped: dict[str, Any]) -> dict[str, str] | None:
    """What the mapped node finds."""
    with house.initiator(mapped) as node:
        assert node.enters()
        return volume(node)


def test_a_new_system_finds_what_it_is_to_be_and_no_other_node_does(house: House) -> None:
    project = house.project()
    image, nodes = house.image(project), (house.node(), house.node())
    with house.nothing_left():
        mine = house.did(
            MapNode(
                project=project,
                node=nodes[0],
                image=image,
                hostname="web1",
                ssh_keys=(KEY,),
                user_data=USER_DATA,
                network_config=NETWORK,
            )
        )
        assert mine["hostname"] == "web1"
        other = house.mapped(project, image, nodes[1])
        files = told(house, mine)
        assert files is not None
        meta = json.loads(files["meta-data"])
        disk = house.disk(mine)
        assert meta == {"instance-id": disk.id, "local-hostname": "web1", "public-keys": [KEY]}
        assert (files["user-data"], files["network-config"]) == (USER_DATA, NETWORK)
        assert told(house, other) is None
        with house.initiator(mine, secret=house.secret(other)) as stranger:
            assert volume(stranger) is None
        with house.initiator(mine, address=other["address"]) as stranger:
            assert volume(stranger) is None
        for mapped in (mine, other):
            house.did(UnmapNode(project=project, node=mapped["node"], force=True))


def test_a_disk_that_goes_on_elsewhere_is_told_the_same_again(house: House) -> None:
    project = house.project()
    first = house.did(
        MapNode(project=project, node=house.node(), image=house.image(project), hostname="web1", user_data=USER_DATA)
    )
    before = told(house, first)
    parked = house.did(UnmapNode(project=project, node=first["node"], disk="park", force=True))
    assert house.ports.seeds.inventory() == ()
    again = house.did(MapNode(project=project, node=house.node(), disk=parked["disk"]))
    assert (again["hostname"], again["address"]) == ("web1", first["address"])
    assert told(house, again) == before
    house.did(UnmapNode(project=project, node=again["node"], force=True))


def test_a_seed_is_back_with_its_target_when_the_target_daemon_has_forgotten_all(folder_house: House) -> None:
    house, project = folder_house, folder_house.project()
    mapped = house.did(MapNode(project=project, node=house.node(), image=house.image(project), user_data=USER_DATA))
    before = told(house, mapped)
    assert before is not None
    house.tgtd.kill()
    house.ports.seeds.remove(house.disk(mapped).id)  # a head that lost its state folder, too
    house.tgtd.start()
    house.until(lambda: any(one.open and one.iqn == mapped["target"] for one in house.ports.target.exports("s0")), 60)
    assert told(house, mapped) == before
    house.did(UnmapNode(project=project, node=mapped["node"], force=True))


@contextmanager
def watched_processes(seen: set[str]) -> Iterator[None]:
    """The command lines and environments of all processes meanwhile, as often as it can be looked."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.05):
            for folder in Path("/proc").glob("[0-9]*"):
                for name in ("cmdline", "environ"):
                    try:
                        if SECRET.encode() in (folder / name).read_bytes():
                            seen.add(str(folder / name))
                    except OSError:
                        continue

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_what_may_be_secret_is_seen_by_nobody_but_the_node(builder: Builder) -> None:
    house = builder.house(ceph=False, postgresql=False, settings={"log": {"level": "debug"}})
    project = house.project()
    secrets: dict[str, Any] = {"user_data": USER_DATA, "network_config": NETWORK}
    asked = {"project": project, "image": house.image(project)}
    answers: list[Any] = []
    seen: set[str] = set()
    with house.listener() as listener, watched_processes(seen):
        # Done, refused, never acceptable, only planned, a conflict, and twice the same; then one that hangs.
        node = house.node()
        ticket = house.ticket(MapNode(node=node, **asked, **secrets))
        results = [house.client().wait(ticket, 60) for _ in range(2)]
        assert all(result.ok for result in results)
        results.append(house.ask(MapNode(node="nobody", **asked, **secrets)))
        results.append(house.ask(MapNode(node=house.node(), dry_run=True, **asked, **secrets)))
        for name, data in {
            "wrong text": {"node": node, **asked, "user_data": f"{SECRET}\n", "network_config": SECRET},
            "wrong type": {"node": node, **asked, "user_data": [SECRET], "network_config": {"version": 2, "x": SECRET}},
            "conflict": {"node": node, **asked, "user_data": f"#!/bin/sh\n{SECRET}"},
        }.items():
            message = ticket.id if name == "conflict" else name
            results.append(house.client().wait(_raw(ticket, message, data), 60))
        assert results[2].state is State.REFUSED
        assert [one.state for one in results[-3:]] == [State.REJECTED] * 3
        house.tgtd.freeze()
        hangs = house.ticket(MapNode(node=house.node(), **asked, **secrets))
        house.client().publish(hangs)
        house.until(lambda: _waiting(house), 30)
        answers += _looked_at(house, project, node)
        house.tgtd.thaw()
        results.append(house.client().wait(hangs, 60))
        assert results[-1].ok
        house.did(UnmapNode(project=project, node=node, force=True))
        answers += [one.problem for one in results]
        assert {"bmi.operation.planned.v1", "bmi.command.rejected.v1"} <= {one.type for one in listener.heard}
        answers += [one.data for one in listener.heard]
    assert SECRET not in repr(answers)
    assert not seen
    assert SECRET not in json.dumps(_written(house), default=str)
    assert not [str(path) for path in _files(house) if SECRET.encode() in path.read_bytes()]


def _raw(ticket: Ticket, message: str, data: dict[str, Any]) -> Ticket:
    return Ticket.of(replace(ticket.envelope, id=message, data=data))


def _waiting(house: House) -> bool:
    listed = house.query(ListOperations())["operations"]
    return any(one.get("why") for one in listed)


def _looked_at(house: House, project: str, node: str) -> list[Any]:
    """What everybody who may ask is told, and the operator on the head."""
    operations = house.query(ListOperations())
    disk = house.query(ListDisks(project=project))["disks"][0]["disk"]
    found: list[Any] = [
        operations,
        house.query(ListDisks(project=project)),
        house.query(ListNodes()),
        house.query(ShowDisk(project=project, disk=disk)),
        house.query(ShowNode(node=node)),
        house.bmid.run("operations", "list", "--all"),
        house.bmid.run("operations", "list", "--all", "-o", "json"),
    ]
    repair = Repair(load(house.bmid.config))
    for one in operations["operations"]:
        found.append(house.query(ShowOperation(operation=one["operation"])))
        found.append(repair.show(one["operation"]))
    waits = next(one["operation"] for one in operations["operations"] if one.get("why"))
    return [*found, house.bmid.run("operations", "show", waits)]


def _written(house: House) -> dict[str, Any]:
    """Every row but those that must have it: the disk's, also in the trash, and the command as it came."""
    rows: dict[str, Any] = {}
    with house.database.read() as tx:
        for name, table in schema.METADATA.tables.items():
            kept = ("disk.seed", "trash.row", "operation.command")
            columns = [one for one in table.columns if str(one) not in kept]
            rows[name] = [tuple(row) for row in tx.execute(select(*columns))]
    assert rows["outbox"]
    assert rows["operation"]
    return rows


def _files(house: House) -> list[Path]:
    """Every file of the house but its database; of a mapped node its seed, which only root can read."""
    found = []
    for folder, _, names in os.walk(house.folder):
        for path in (Path(folder) / name for name in names):
            if path.is_file() and not path.name.startswith("bmid.db"):
                found.append(path)
    seeds = [path for path in found if path.parent.name == "seeds"]
    assert len(seeds) == 1
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in seeds)
    return [path for path in found if path not in seeds]
