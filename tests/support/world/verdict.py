"""The verdict on a world that has come to rest: ends, events, things, bytes, and what the model says.

Each check returns what is wrong, in words.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from bmid.model.entity import DiskState
from bmid.model.operation import FINAL
from bmid.store import schema
from bmid.store.database import Database
from bmid.store.view import StoreView
from tests.support.expectation import Model

if TYPE_CHECKING:
    from tests.support.world.head import Head
    from tests.support.world.world import World

__all__ = ["judge", "open_operations"]

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
    return [*found, *world.witness.misled(), *world.witness.lost_bytes()]


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
    """Every event was seen, in its place; sequences and positions have no gap."""
    rows = _rows(world, schema.outbox)
    seen = {one.properties.message_id: json.loads(one.body) for one in world.broker.seen}
    before = world.past_events
    found = [f"event {row.type} was never seen" for row in rows if row.id > before and row.event not in seen]
    found += [f"an event was seen that nothing explains: {one['type']}" for name, one in seen.items()
              if name not in {row.event for row in rows}]  # fmt: skip
    places = sorted(row.position or 0 for row in rows)
    if places != list(range(1, len(rows) + 1)):
        found.append(f"positions have gaps: {places}")
    subjects: dict[str, list[int]] = {}
    for row in rows:
        subjects.setdefault(row.envelope["subject"], []).append(int(row.envelope["sequence"]))
    found += [f"sequence of {name} has gaps: {numbers}" for name, numbers in subjects.items()
              if numbers != list(range(1, len(numbers) + 1))]  # fmt: skip
    first = [one.properties.message_id for one in world.broker.seen]
    order = list(dict.fromkeys(first))
    expected = [row.event for row in sorted(rows, key=lambda row: row.position or 0) if row.id > before]
    if not found and order != expected:
        found.append("events were first seen out of their order")
    return found


def _things(world: World) -> list[str]:
    """Nothing is there that no row explains, and whatever a row promises is there."""
    with world.database.read() as tx:
        view = StoreView(tx, 0)
        images, disks = view.images(), {one.id: one for one in view.disks()}
        nodes = {one.disk: one for one in view.nodes() if one.disk}
        claim = schema.claim
        held = [row.key for row in tx.execute(select(claim).where(claim.c.holder.is_not(None)))]
        keys = [row.key for row in tx.execute(select(schema.operation_key))]
    found = [f"claim on {key} is held" for key in held if not key.startswith("role:")] + [f"key {key}" for key in keys]
    stored = {(one.kind, one.id) for one in world.storage.inventory() if one.kind != "trash"}
    promised = {("image", one.id) for one in images} | {("disk", name) for name in disks}
    found += [f"stored {one} has no row" for one in sorted(stored - promised)]
    found += [f"{one} is not in the storage" for one in sorted(promised - stored)]
    found += [f"image {one.name} is not ready" for one in images if not one.ready]
    found += [f"snapshot of {name}" for name, one in world.storage._disks.items() if one.snapshots]
    mapped = {name: one for name, one in disks.items() if one.state is DiskState.MAPPED}
    for name, one in disks.items():
        if one.state not in (DiskState.MAPPED, DiskState.PARKED):
            found.append(f"disk {one.name} is {one.state}")
        if (one.state is DiskState.MAPPED) != (name in nodes):
            found.append(f"disk {one.name} is {one.state}, its node {nodes.get(name)}")
    for head in world.heads:
        found += _led(world, head, {name: one for name, one in mapped.items() if one.head == head.name})
    owners = {name: one.owners for name, one in world.storage._disks.items() if len(one.owners) > 1}
    return found + [f"disk {name} is open at {one}" for name, one in owners.items()]


def _led(world: World, head: Head, mine: dict[str, Any]) -> list[str]:
    """A head has a target, open at the storage, and a pointer for each disk that is at home there, and no more."""
    there = {
        (shard, number): one for shard, standing in head.target._standing.items() for number, one in standing.items()
    }
    wanted = {(one.shard, one.number): one for one in mine.values()}
    found = [f"target {key} at {head.name} has no row" for key in there if key not in wanted]
    for key, one in wanted.items():
        if key not in there or not there[key].open:
            found.append(f"disk {one.name} has no open target at {head.name}")
        elif not world.storage.has_open(*head.target.clients.get(one.number, ("", ""))):
            found.append(f"disk {one.name} is not open at its target")
    pointers = {entry.disk for entry in head.boot.entries.values()}
    found += [f"pointer to {name} at {head.name} has no row" for name in sorted(pointers - set(mine))]
    found += [f"disk {mine[name].name} has no pointer at {head.name}" for name in sorted(set(mine) - pointers)]
    return found + [f"job {job}" for job in (*head.imaging._jobs, *head.imaging._work)]


def _model(world: World) -> list[str]:
    """Each command ended as the model says, taken in the order in which they ended."""
    found: list[str] = []
    model = world.model
    by_message = {(f"/{one.user}", one.message): one for one in world.story.commands}
    rows = {row.id: row for row in _rows(world, schema.operation)}
    finals = [one for one in _rows(world, schema.outbox) if one.operation in rows]
    for event in finals:
        row = rows[event.operation]
        command = by_message.get((row.source, row.message))
        if command is None or event.type not in world.registry.ends(row.type):
            continue
        problem = event.envelope["data"].get("problem")
        slug = problem["type"].rpartition(":")[2] if problem else None
        if _excused(world, row, slug):
            continue
        expected = getattr(model, command.kind.replace(".", "_"))(**command.data)
        got = slug if slug else (expected if command.kind in UNSAID else event.envelope["data"].get("changed", True))
        if got != expected:
            found.append(f"{command} ended in {got!r}, and not in {expected!r}: {problem and problem['detail']}")
            return found  # what comes after it would only repeat that
    return found + _site(world, model)


def _excused(world: World, row: Any, slug: str | None) -> bool:
    if row.id in world.fate.hopeless and slug == "accident":
        return True
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
        ("maps", maps, {name: (one.project, one.image) for name, one in model.maps.items()}),
        ("parked disks", kept, sorted((one.project, one.image) for one in model.parked)),
    ]
    return [f"{what}: {is_} instead of {should}" for what, is_, should in pairs if is_ != should]
