"""Random commands, deaths and lost targets, against a model of what a site is that knows nothing of steps and claims.

Commands wait in the queue while others come, so that they meet; the model takes them one after the other, in the order
in which they were accepted, and must be right. It is the whole truth: what it doesn't say, the site mustn't be.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from bmid.drivers.base import PowerState
from bmid.errors import TransientError
from bmid.handlers.reconcile_site import ReconcileSite
from bmid.model.entity import Disk, DiskState
from bmid.model.operation import FINAL
from bmid.scheduler.purge import Purge
from tests.support.accident import Killed
from tests.support.bench import LEASE, Bench
from tests.support.expectation import End, Model
from tests.support.tenant import FOREIGN, commands

UNORDERED = ("image.maintenance", "image.remove", "image.update", "image.export", "image.restore", "disk.restore")


def accidents() -> st.SearchStrategy[list[tuple[int, str]]]:
    """After so many driver calls and commits: kill -9, or a call that may work later; one after the other."""
    strike = st.tuples(st.integers(0, 40), st.sampled_from(["killed", "killed", "transient"]))
    return st.lists(strike, min_size=1, max_size=4)


class SiteMachine(RuleBasedStateMachine):
    """A site on memory twins and virtual time, beside its model."""

    def __init__(self, folder: Path, blank: Path) -> None:
        super().__init__()
        self.bench = Bench(Path(tempfile.mkdtemp(dir=folder)), blank=blank, trash_days=1000.0).open()
        self.bench.image_file("debian.raw")
        self.model = Model()
        self.sent: list[tuple[str, str, dict[str, Any]]] = []  # id, type, data
        self.awaited: dict[str, tuple[str, End]] = {}  # operation: its type, how it must end
        self.numbers: dict[int, str] = {}  # of targets: the disk that has or had each
        self.sound = True

    @initialize(bmcs=st.lists(st.booleans(), min_size=3, max_size=3))
    def furnish(self, bmcs: list[bool]) -> None:
        """Something to begin with."""
        for project in ("p1", "p2"):
            self._send("project.create", {"project": project})
            self._send("image.import", {"project": project, "image": "i1", "source": {"file": "debian.raw"}})
        for number, bmc in enumerate(bmcs, 1):
            power = {"driver": "memory", "address": f"bmc-n{number}"} if bmc else None
            self._send("node.register", {"node": f"n{number}", "macs": [f"52:54:00:00:0{number}:01"], "power": power})

    @rule(batch=st.lists(commands(), min_size=1, max_size=4), cut=st.integers(-1, 1))
    def send(self, batch: list[tuple[str, dict[str, Any]]], cut: int) -> None:
        """Several commands, nobody works yet. The daemon may die before or after the commit of the first."""
        for number, (kind, data) in enumerate(batch):
            if (
                kind in UNORDERED
                or "image_labels" in data
                or data.get("disk", "")[:1] == "d"
                or (FOREIGN in data.get("macs", ()))
            ):
                # Commands on different nodes or images have no order: who has a card, what hangs on an image or is
                # meant by labels, and which disk is off its node, can be told only when all of them have ended.
                self.work([])
            self._send(kind, data, -1 if number else cut)

    def _send(self, kind: str, data: dict[str, Any], cut: int = -1) -> None:
        message, copy = f"c{len(self.sent)}", {name: value for name, value in data.items() if value is not None}
        try:
            self._arm(cut, "killed")
            self.bench.send(f"bmi.{kind}.v1", copy, id=message)
        except Killed:
            self.bench.die()
            self.bench.send(f"bmi.{kind}.v1", copy, id=message)  # it wasn't acknowledged: the broker delivers it again
        self.bench.trip.armed = False
        expected = getattr(self.model, kind.replace(".", "_"))(**data)
        self.awaited[self.bench.operation(message).id] = (kind, expected)
        self.sent.append((message, f"bmi.{kind}.v1", copy))

    @rule(which=st.integers(0, 99), same=st.booleans())
    def repeat(self, which: int, same: bool) -> None:
        """The same id again: no second effect; with other content it is rejected."""
        message, kind, data = self.sent[which % len(self.sent)]
        operations, events = self.bench.view().operations(500), self.bench.events()
        self.bench.send(kind, data if same else {**data, "project": "p3"}, id=message)
        assert self.bench.view().operations(500) == operations
        added = self.bench.events()[len(events) :]
        assert [one["type"] for one in added] == ([] if same else ["bmi.command.rejected.v1"])

    @precondition(lambda self: self.model.maps)
    @rule(alive=st.lists(st.booleans(), min_size=3, max_size=3))
    def log_in(self, alive: list[bool]) -> None:
        """The mapped nodes start from their disks, and go on running or lose their power."""
        self.work([])
        for (node, disk), runs in zip(sorted(self._disks().items()), alive, strict=False):
            secret = self.bench.ports().secret(disk.id, disk.generation)
            self.bench.target.log_in(disk.shard, disk.number, address=disk.address, user=disk.id, secret=secret)
            self.bench.boot.answering[disk.address] = runs
            (self.model.running.add if runs else self.model.running.discard)(node)

    @precondition(lambda self: self.model.maps)
    @rule(shard=st.sampled_from(["0", "1"]), strikes=accidents())
    def restart_target(self, shard: str, strikes: list[tuple[int, str]]) -> None:
        """A tgtd forgets all; its initiators haven't come back yet."""
        self.work([])
        self.bench.target.restart(shard)
        self.model.running -= {node for node, disk in self._disks().items() if disk.shard == shard}
        self.work(strikes)

    @rule()
    def purge(self) -> None:
        """The trash is gone through: what was undone goes, and nothing that could be restored."""
        Purge(self.bench.database, self.bench.identity.holder, self.bench.storage, urgent=5).run_once()

    @rule(strikes=accidents())
    def reconcile(self, strikes: list[tuple[int, str]]) -> None:
        """A look in the midst of it finds nothing: what is being made or taken away is neither missing nor left."""
        one = self.bench.submit(ReconcileSite(head="h1", shared=True))
        self.work(strikes)
        assert self.bench.final(one.id)["data"]["findings"] == {}

    @precondition(lambda self: self.awaited)
    @rule(strikes=accidents())
    def work(self, strikes: list[tuple[int, str]]) -> None:
        """Until nothing is left to do, whoever dies meanwhile; then the site is what the model says."""
        self.sound = False
        for moment, fate in strikes:
            self._arm(moment, fate)
            try:
                self._settle()
            except Killed:
                self.bench.die()
                self.bench.clock.advance(LEASE + 1)
            except TransientError:
                self.bench.clock.advance(1)
            self.bench.trip.armed = False
        self._settle()
        self._check_ends()
        self._check_site()
        self.sound = True

    def _arm(self, moment: int, fate: str) -> None:
        def strike() -> None:
            raise Killed if fate == "killed" else TransientError("accident", "this may work later")

        trip = self.bench.trip
        trip.at, trip.strike, trip.seen, trip.armed = moment, strike, [], True

    def _settle(self) -> None:
        """Work, and do what the daemon does by itself every few seconds: put lost targets back."""
        self.bench.settle(self.bench.worker(self.bench.identity))
        while self.bench.export_watch().run_once():
            self.bench.settle(self.bench.worker(self.bench.identity))

    def _check_ends(self) -> None:
        """Every command has one end, and the one that the model says."""
        for operation, (kind, expected) in self.awaited.items():
            one, final = self.bench.find(operation), self.bench.final(operation)["data"]
            told = f"{kind} {one.command}: {final}"
            assert one.phase in FINAL, told
            if isinstance(expected, bool):
                assert final.get("problem") is None, told
                assert final.get("changed", True) is expected, told
            else:
                assert final["problem"]["type"] == f"urn:bmi:problem:{expected}", told
                assert final["refused"] is (expected != "file-unknown"), told
        self.awaited.clear()

    def _check_site(self) -> None:
        """Nothing but what the model says, and every mapped node is led to its own disk, and only there."""
        model, rows = self.model, self.bench.view()
        assert self.bench.unexplained() == []
        assert {one.name for one in rows.projects()} == model.projects
        images = {f"{one.project}/{one.name}": one.id for one in rows.images()}
        names = {identifier: name for name, identifier in images.items()}
        parents = {f"{one.project}/{one.name}": one.parent and names[one.parent] for one in rows.images()}
        assert parents == model.images
        meant = {
            (project, str(sorted(labels.items()))): rows.default_image(project, labels)
            for project in ("p1", "p2")
            for labels in ({"os": "a"}, {"os": "b"})
        }
        assert {key: f"{one.project}/{one.name}" for key, one in meant.items() if one} == model.defaults
        assert {path.name for path in self.bench.exports.iterdir()} == model.exports
        nodes = {one.name: one for one in rows.nodes()}
        assert {name: (one.boot_mac, one.power is not None) for name, one in nodes.items()} == model.nodes
        disks = self._disks()
        assert {name: (one.project, names[one.image]) for name, one in disks.items()} == {
            name: (one.project, one.image) for name, one in model.maps.items()
        }
        assert all(disks[node].name == one.name for node, one in model.maps.items() if one.name)
        kept = [(one.project, names[one.image]) for one in rows.disks() if one.state is DiskState.PARKED]
        assert sorted(kept) == sorted((one.project, one.image) for one in model.parked)
        assert all(rows.disk_named(one.project, one.name) for one in model.parked if one.name)
        lit = {name for name in nodes if self.bench.power.switch(f"bmc-{name}").state is PowerState.ON}
        assert lit == model.on & nodes.keys()
        assert len({one.address for one in disks.values()}) == len(disks)
        for name, disk in disks.items():
            assert self.numbers.setdefault(disk.number, disk.id) == disk.id, "a number was given twice"
            self._check_way(nodes[name].boot_mac, disk)

    def _check_way(self, mac: str, disk: Disk) -> None:
        """Card, pointer, target, storage: each leads to the next."""
        entry = self.bench.boot.entries[disk.address or ""]
        assert (entry.mac, entry.hostname, entry.disk) == (mac, disk.hostname, disk.id)
        status = self.bench.target.status(disk.shard or "", disk.number)
        assert status is not None
        assert (status.iqn, status.backing) == (entry.iqn, f"memory:{disk.id}")
        assert (status.user, status.addresses) == (entry.user, (disk.address,))
        assert self.bench.storage.has_open(disk.id, self.bench.storage.owner(disk.id) or "")
        assert self.bench.storage._disks[disk.id].image == disk.image

    def _disks(self) -> dict[str, Disk]:
        """The disk of each mapped node."""
        found = {one.id: one for one in self.bench.view().disks()}
        return {node.name: found.pop(node.disk) for node in self.bench.view().nodes() if node.disk}

    def teardown(self) -> None:
        """What still waits is worked off as well."""
        try:
            if self.sound:
                self.work([])
        finally:
            self.bench.close()


@pytest.mark.usefixtures("quiet")
def test_a_site_is_what_its_model_says_whoever_dies_meanwhile(tmp_path: Path, blank: Path) -> None:
    """The same sequences in every run."""
    run_state_machine_as_test(
        lambda: SiteMachine(tmp_path, blank),
        settings=settings(
            derandomize=True,
            database=None,
            deadline=None,
            max_examples=60,
            stateful_step_count=15,
            suppress_health_check=list(HealthCheck),
        ),
    )
