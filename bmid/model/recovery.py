"""Rows made again of what lies in a storage. Pure: remnants in, rows and doubts out.

Where two things claim what only one can have, the one that is in use gets it, then the older one; the other is kept
without it, and that is told. Nothing that could be read is left out.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from bmid.model.change import Entity, Put
from bmid.model.entity import Disk, DiskState, Firmware, Image, Node, Portal, Project, Seed
from bmid.model.remnant import DiskNote, ImageNote, N, Remnant, read_note
from bmid.model.trash import Trashed, trashed

__all__ = ["Doubt", "Recovery", "contested", "recover", "thrown"]

_STATES = {"mapped": DiskState.MAPPED, "parked": DiskState.PARKED, "discarded": DiskState.REMOVING}


@dataclass(frozen=True)
class Doubt:
    """What a person should know of one thing. `lost`: it has no row."""

    kind: str
    id: str
    name: str
    what: str
    lost: bool = False


@dataclass
class Recovery:
    """All rows that follow from a storage. `heads`: the shards of each with their portals, as nodes were told;
    `number`: the highest of all targets; `iqns`: what nodes were told their targets are called, by disk; `elsewhere`:
    how much was left out because it is not this site's."""

    projects: dict[str, Project] = field(default_factory=dict)
    images: dict[str, Image] = field(default_factory=dict)
    disks: dict[str, Disk] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    trash: dict[str, Trashed] = field(default_factory=dict)
    heads: dict[str, dict[str, str]] = field(default_factory=dict)
    portals: dict[str, Portal] = field(default_factory=dict)
    iqns: dict[str, str] = field(default_factory=dict)
    number: int = 0
    elsewhere: int = 0
    doubts: list[Doubt] = field(default_factory=list)

    def changes(self) -> Iterator[Put]:
        """Everything, what others refer to first."""
        rows: tuple[Mapping[str, Entity], ...]
        rows = (self.projects, self.images, self.nodes, self.disks, self.trash, self.portals)
        yield from (Put(row) for table in rows for row in table.values())


def contested(found: Sequence[Remnant]) -> frozenset[str]:
    """Ids of disks that say that they are on a node which another one says, too: a rebuild was under way."""
    notes = [note for one in found if one.kind == "disk" and not one.trashed and (note := _mapped(one))]
    count = Counter(note.node for note in notes)
    return frozenset(note.id for note in notes if count[note.node] > 1)


def _mapped(one: Remnant) -> DiskNote | None:
    note = read_note(DiskNote, one)
    return note if isinstance(note, DiskNote) and note.state == "mapped" else None


def recover(found: Sequence[Remnant], opened: Collection[str], now: datetime, expires_at: datetime) -> Recovery:
    """The rows. `opened`: those of the contested disks that a client has open; `expires_at`: until when the trash keeps
    what is in it, all of it anew."""
    return _Recoverer(now, expires_at).run(found, opened)


def thrown(one: Remnant, now: datetime, expires_at: datetime) -> Trashed | None:
    """The row of one thing that goes to the trash now; None where it doesn't say enough to be brought back."""
    return recover([replace(one, trashed=True, removed_at=now)], (), now, expires_at).trash.get(one.id)


class _Recoverer:
    def __init__(self, now: datetime, expires_at: datetime) -> None:
        self._now = now
        self._expires_at = expires_at
        self._made = Recovery()
        self._taken: set[tuple[object, ...]] = set()

    def run(self, found: Sequence[Remnant], opened: Collection[str]) -> Recovery:
        images = [(one, told) for one in found if one.kind == "image" and (told := self._read(ImageNote, one))]
        disks = [(one, note) for one in found if one.kind == "disk" and (note := self._read(DiskNote, one))]
        images.sort(key=lambda pair: (pair[1].created_at or self._now, pair[0].id))
        # What is in use has the first word; then what is older, which a lower number tells.
        disks.sort(key=lambda pair: (pair[1].state != "mapped", pair[0].id not in opened, pair[1].number))
        for one, image in images:
            if not one.trashed:
                self._image(one, image)
        for one, disk in disks:
            if not one.trashed:
                self._disk(one, disk)
        for one, image in images:
            if one.trashed:
                self._throw(self._as_image(one, image), one)
        for one, disk in disks:
            if one.trashed:
                self._throw(self._as_disk(one, disk, DiskState.PARKED), one)
        self._made.number = max((note.number for _, note in disks), default=0)
        return self._made

    def _read(self, kind: type[N], one: Remnant) -> N | None:
        note = read_note(kind, one)
        if not isinstance(note, str):
            return note
        self._doubt(one, one.id, note, lost=True)
        return None

    def _doubt(self, one: Remnant, name: str, what: str, *, lost: bool = False) -> None:
        kind = f"{one.kind} in the trash" if one.trashed else one.kind
        self._made.doubts.append(Doubt(kind, one.id, name, what, lost))

    def _only(self, *key: object) -> bool:
        """Whether nobody else has it; from now on somebody has."""
        free = key not in self._taken
        self._taken.add(key)
        return free

    def _name(self, one: Remnant, project: str, name: str) -> str:
        if self._only(one.kind, project, name):
            return name
        other = f"{name[:50]}-{one.id[-12:]}"
        self._doubt(one, f"{project}/{name}", f"another {one.kind} has this name: it is called {other} from now on")
        return other

    def _project(self, name: str) -> None:
        if name not in self._made.projects:
            self._made.projects[name] = Project(_identity("project", name), name, self._now)

    def _image(self, one: Remnant, note: ImageNote) -> None:
        image = self._as_image(one, note)
        if note.created_at is None:
            lacking = "its age, format, digest, description, labels and what it was made from"
            self._doubt(one, image.reference, f"an earlier version wrote it, which didn't say {lacking}")
        self._made.images[one.id] = replace(image, name=self._name(one, note.project, note.image))
        self._project(note.project)

    def _as_image(self, one: Remnant, note: ImageNote) -> Image:
        return Image(
            id=one.id,
            project=note.project,
            name=note.image,
            size=one.size,
            format=note.format or "raw",
            sha256=note.sha256,
            firmware=note.firmware if note.firmware is not None else one.firmware or (),
            created_at=note.created_at or self._now,
            description=note.description,
            labels=dict(note.labels),
            parent=note.parent,
            ready=True,
        )

    def _disk(self, one: Remnant, note: DiskNote) -> None:
        label = f"{note.project}/{note.name}"
        if note.image not in self._made.images:
            self._doubt(one, label, f"the image that it was made from, {note.image_name}, has no row", lost=True)
            return
        if note.created_at is None:
            self._doubt(one, label, "an earlier version wrote it, without its age, portal, seed and node's data")
        state = _STATES[note.state]
        if note.state == "discarded":
            self._doubt(one, label, "its removal had begun: disk remove ends it")
        if state is DiskState.MAPPED and not self._only("node", note.node):
            self._doubt(one, label, f"node {note.node} is on another disk, too: this one is parked")
            state, note = DiskState.PARKED, note.model_copy(update={"address": None})
        if note.address and not self._only("address", note.network, note.address):
            self._doubt(one, label, f"another disk has its address {note.address}")
            note = note.model_copy(update={"address": None, "network": None})
        disk = replace(self._as_disk(one, note, state), name=self._name(one, note.project, note.name))
        self._made.disks[one.id] = disk
        self._project(note.project)
        if state is DiskState.MAPPED:
            self._node(one, note)
            self._home(note)

    def _as_disk(self, one: Remnant, note: DiskNote, state: DiskState) -> Disk:
        mapped = state is DiskState.MAPPED
        return Disk(
            id=one.id,
            project=note.project,
            name=note.name,
            image=note.image,
            size=one.size,
            number=note.number,
            state=state,
            created_at=note.created_at or self._now,
            node=note.node if mapped else None,
            network=note.network,
            address=note.address,
            hostname=note.hostname,
            head=note.head if mapped else None,
            shard=note.shard if mapped else None,
            generation=note.generation,
            seed=Seed() if note.seeded else None,
            portal=note.portal if mapped else None,
        )

    def _node(self, one: Remnant, note: DiskNote) -> None:
        name = note.node or ""
        address = note.node_address
        if address and not self._only("wish", address):
            self._doubt(one, name, f"another node wishes for its address {address}, too")
            address = None
        macs = tuple(mac for mac in note.macs if self._only("mac", mac))
        if macs != note.macs:
            taken = ", ".join(mac for mac in note.macs if mac not in macs)
            self._doubt(one, name, f"another node has {taken} of node {name}, too")
        self._made.nodes[name] = Node(
            id=note.node_id or _identity("node", name),
            name=name,
            macs=macs,
            boot_mac=note.boot_mac or macs[0],
            firmware=note.firmware or Firmware.ANY,
            created_at=note.node_created_at or self._now,
            address=address,
            labels=dict(note.node_labels),
            hil_name=note.node_hil_name,
            disk=one.id,
            generation=note.generation if note.node_generation is None else note.node_generation,
        )

    def _home(self, note: DiskNote) -> None:
        head, shard, portal = note.head or "", note.shard or "", note.portal or ""
        shards = self._made.heads.setdefault(head, {})
        shards[shard] = shards.get(shard) or portal
        if portal:
            self._made.portals.setdefault(portal, Portal(portal, head, shard, native=head))
        self._made.iqns[note.id] = note.iqn

    def _throw(self, thing: Image | Disk, one: Remnant) -> None:
        if one.id in self._made.images or one.id in self._made.disks:
            return  # what was begun in its place before it was finished
        self._made.trash[one.id] = trashed(thing, "", one.removed_at or self._now, self._expires_at)
        self._project(thing.project)


def _identity(kind: str, name: str) -> str:
    """An id for what has lost its own. Nothing else is named by it."""
    return hashlib.sha256(f"{kind} {name}".encode()).hexdigest()[:32]
