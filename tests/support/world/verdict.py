"""The verdict on a world that has come to rest, in words.

What rows, storage, targets, pointers and seeds say of each other is compared by the module that the daemon, `bmid fsck`
and chaos use. Beside that is what only this side knows, and what must not depend on it: which commands were sent and
which events were heard, clients of the storage, addresses, bytes, and what the model says.
"""

from __future__ import annotations

import json
from collections import Counter
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from bmid.engine.auditor import Auditor
from bmid.handlers.aside import NodeSetAside
from bmid.model.entity import DiskState
from bmid.model.finding import Finding
from bmid.model.operation import FINAL
from bmid.steps.audit import compare
from bmid.steps.sighting import look, look_at_shared
from bmid.store import schema
from bmid.store.database import Database
from bmid.store.view import StoreView
from tests.support.expectation import Model

if TYPE_CHECKING:
    from tests.support.world.world import World

__all__ = ["findings", "judge", "open_operations"]

UNSAID = ("node.power",)  # whether it changed anything: boots and BMCs switch nodes, too


def open_operations(database: Database) -> bool:
    """Whether something is to be done or published still."""
    table, outbox = schema.operation, schema.outbox
    undone = select(table.c.id).where(table.c.ended_at.is_(None), table.c.phase != "stuck").limit(1)
    untold = select(outbox.c.id).where(outbox.c.published_at.is_(None)).limit(1)
    with database.read() as tx:
        return tx.execute(undone).first() is not None or tx.execute(untold).first() is not None


def judge(world: World) -> list[str]:
    """All that is wrong."""
    found = [*world.log.wrong, *world.witness.wrong]
    checks = (_ends, _events, _things, _model)
    for check in checks:
        found += check(world)
    return [*found, *world.witness.misled(), *world.nodes.lost_bytes(), *world.nodes.errors]


def _rows(world: World, table: Any) -> list[Any]:
    with world.database.read() as tx:
        return list(tx.execute(select(table).order_by(table.c.seq if "seq" in table.c else table.c.id)))


def _ends(world: World) -> list[str]:
    """Every command that arrived led to one operation, and that to one final event."""
    rows = _rows(world, schema.operation)
    messages = Counter((row.source, row.message) for row in rows if row.parent is None)
    wanted = {(f"/{one.user}", one.message) for one in world.story.commands}
    found = [f"command {one} led to {messages[one]} operations" for one in sorted(wanted) if messages[one] != 1]
    events = _rows(world, schema.outbox)
    for row in rows:
        if row.phase not in FINAL:
            found.append(f"{row.type} {row.command} is {row.phase}: {row.why}")
            continue
        ends = world.registry.ends(row.type)
        finals = [one.type for one in events if one.operation == row.id and one.type in ends]
        if len(finals) != 1:
            found.append(f"{row.type} {row.command} ended {len(finals)} times: {finals}")
    return found


def _events(world: World) -> list[str]:
    """Every event was seen, in its place; positions are all there, counted without the query of the findings."""
    rows = _rows(world, schema.outbox)
    seen = {one.properties.message_id: json.loads(one.body) for one in world.broker.seen}
    before = world.past_events
    found = [f"event {row.type} was never seen" for row in rows if row.id > before and row.event not in seen]
    found += [f"an event was seen that nothing explains: {one['type']}" for name, one in seen.items()
              if name not in {row.event for row in rows}]  # fmt: skip
    places = sorted(row.position or 0 for row in rows)
    if places != list(range(1, len(rows) + 1)):
        found.append(f"positions have gaps: {places}")
    first = [one.properties.message_id for one in world.broker.seen]
    order = list(dict.fromkeys(first))
    expected = [row.event for row in sorted(rows, key=lambda row: row.position or 0) if row.id > before]
    if not found and order != expected:
        found.append("events were first seen out of their order")
    return found


def _things(world: World) -> list[str]:
    """What `bmid fsck` would find, and what it doesn't look at."""
    return [*(f"{one.kind}: {one.what} ({one.where})" for one in findings(world)), *_clients(world), *_homes(world)]


def findings(world: World) -> list[Finding]:
    """The comparison of rows and sightings that the daemon, fsck and chaos have, at each machine that there is."""
    there = [head for head in world.heads if not head.off]
    auditor = Auditor(world.registry, world.site, there[0].name, "/verdict")
    with world.database.read() as tx:
        rows = auditor.promises(tx, shared=True)
    found: list[Finding] = []
    for head in there:
        # Past its own way to the storage, which may have been cut off since it was used last.
        seen = look(replace(head.ports, storage=world.storage), head.name, world.site.iqn_prefix, rows)
        if head is there[0]:
            look_at_shared(world.storage, seen)
        assert not seen.silent, seen.silent
        found += compare(rows, seen)
    return found


def _clients(world: World) -> list[str]:
    """What no driver tells: clients of the storage that a target or nobody has, jobs that nobody asks about."""
    found = []
    for head in [one for one in world.heads if not one.off]:
        for shard, number, export in head.open_targets():
            if not world.storage.has_open(*head.target.clients.get(number, ("", ""))):
                found.append(f"disk {export.user} is not open at its target, {shard}/{number} of {head.name}")
        found += [f"job {job}" for job in (*head.imaging._jobs, *head.imaging._work)]
    owners = {name: one.owners for name, one in world.storage._disks.items() if len(one.owners) > 1}
    return found + [f"disk {name} is open at {one}" for name, one in owners.items()]


def _homes(world: World) -> list[str]:
    """Each mapped disk is at home where its address is."""
    with world.database.read() as tx:
        disks = [one for one in StoreView(tx, 0).disks() if one.state is DiskState.MAPPED]
    found = []
    for one in disks:
        head = world.carriers.at((one.portal or "").rpartition(":")[0])
        if head is None or head.name != one.head:
            found.append(f"disk {one.name} is at home at {one.head}, and {one.portal} at {head and head.name}")
    return found


def _model(world: World) -> list[str]:
    """Each command ended as the model says, taken in the order in which they ended. `after` is the model then."""
    found: list[str] = []
    world.after = model = deepcopy(world.model)
    by_message = {(f"/{one.user}", one.message): one for one in world.story.commands}
    rows = {row.id: row for row in _rows(world, schema.operation)}
    finals = [one for one in _rows(world, schema.outbox) if one.operation in rows]
    for event in finals:
        row = rows[event.operation]
        if event.type == NodeSetAside.type:
            model.idle.add(event.envelope["data"]["node"])
        command = by_message.get((row.source, row.message))
        if command is None or event.type not in world.registry.ends(row.type):
            continue
        problem = event.envelope["data"].get("problem")
        slug = problem["type"].rpartition(":")[2] if problem else None
        if _excused(world, row, slug) or (slug == "expired" and command.expires is not None):
            continue
        if slug == "session-live" and command.data.get("node") in model.maps:
            continue  # its system runs, or doesn't, as the heads let it; what was refused has changed nothing
        expected = getattr(model, command.kind.replace(".", "_"))(**command.data)
        got = slug if slug else (expected if command.kind in UNSAID else event.envelope["data"].get("changed", True))
        if got != expected:
            found.append(f"{command} ended in {got!r}, and not in {expected!r}: {problem and problem['detail']}")
            return found  # what comes after it would only repeat that
    return found + _site(world, model) + _seeds(world, model)


def _excused(world: World, row: Any, slug: str | None) -> bool:
    if row.id in world.fate.hopeless and slug == "accident":
        return True
    if slug == "head-draining":
        return any(one.kind == "drain" for one in world.story.faults)
    return slug == "deadline-passed" and (world.fate.jumped or any(one.kind == "bmc" for one in world.story.faults))


def _site(world: World, model: Model) -> list[str]:
    with world.database.read() as tx:
        view = StoreView(tx, 0)
        images = {f"{one.project}/{one.name}": one.id for one in view.images()}
        disks, nodes = {one.id: one for one in view.disks()}, view.nodes()
        projects = {one.name for one in view.projects()}
    names = {identifier: name for name, identifier in images.items()}
    maps = {node.name: (disks[node.disk].project, names[disks[node.disk].image]) for node in nodes if node.disk}
    kept = sorted((one.project, names[one.image]) for one in disks.values() if one.state is DiskState.PARKED)
    pairs = [
        ("projects", projects, model.projects),
        ("images", set(images), set(model.images)),
        ("nodes", {one.name for one in nodes}, set(model.nodes)),
        ("nodes set aside", {one.name for one in nodes if one.aside}, model.idle),
        ("exports", {one.name for one in world.exports.iterdir()}, model.exports),
        ("maps", maps, {name: (one.project, one.image) for name, one in model.maps.items()}),
        ("parked disks", kept, sorted((one.project, one.image) for one in model.parked)),
    ]
    return [f"{what}: {is_} instead of {should}" for what, is_, should in pairs if is_ != should]


def _seeds(world: World, model: Model) -> list[str]:
    """Each system that was to be told something finds it at its disk's home: its name, and the user data."""
    with world.database.read() as tx:
        view = StoreView(tx, 0)
        disks = {node.name: view.disk(node.disk) for node in view.nodes() if node.disk}
    found = []
    for node, one in model.maps.items():
        disk = disks.get(node)
        head = world.by_name.get(disk.head or "") if disk else None
        if disk is None or head is None or head.off:
            continue
        files = head.seeds.volumes.get(disk.id)
        said = files and (json.loads(files["meta-data"])["local-hostname"], files["user-data"])
        should = (one.host, one.seed[0] or "#cloud-config\n") if one.seed else None
        if said != should:
            found.append(f"node {node} is told {said!r} by {head.name}, and should be {should!r}")
    return found
