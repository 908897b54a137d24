"""`bmid rebuild --from-storage`: the database is gone, and its rows come back from what the storage says of itself.

Nothing in the world is touched: nodes go on, and their targets stand. What follows from what lies in a storage is
decided in bmid/model/recovery.py.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import datetime, timedelta
from typing import Any, Literal

from bmid.care.archive import Progress
from bmid.care.vacancy import require_empty, require_rest
from bmid.drivers.base import Storage, Stored, TrashEntry
from bmid.errors import Misconfigured, TransientError
from bmid.model.entity import DiskState
from bmid.model.firmware import firmware_modes
from bmid.model.recovery import Recovery, contested, recover
from bmid.model.remnant import Remnant, of_one_site
from bmid.parts import make_database, make_site, make_storage, take_locks
from bmid.settings import Settings
from bmid.store import dump, heads
from bmid.store.database import Tx
from bmid.store.heads import Presence
from bmid.store.rows import apply
from bmid.store.site import begin_anew

__all__ = ["LOST", "Rebuild", "shape"]

LOST = (
    "nodes without a disk: register them again",
    "power addresses of all nodes: register them again, mapped ones too, with the same boot MAC and address",
    "what was said of a node or its cards after it was mapped",
    "projects that have neither image nor disk, and when projects were made",
    "what labels mean as a default image: bmi-publish image update --default-for",
    "seeds, SSH keys and user data of new systems; one that hasn't booted yet finds its host name only",
    "leases and grants",
    "which clients export the disks: the next fence goes by who has them open",
    "operations that were under way: send them again",
    "history, events and the keys that tell a message sent twice; sequences and positions go on behind all of before",
)


class Rebuild:
    """Works on an empty database, with no bmid at work; `progress` hears of things read and things in all."""

    def __init__(self, settings: Settings, progress: Progress, storage: Storage | None = None) -> None:
        self._settings = settings
        self._progress = progress
        self._storage = storage or make_storage(settings)

    def run(self, *, rehearse: bool = False, site: str | None = None) -> Recovery:
        """Read all of the storage, then write all rows at once, or (`rehearse`) none. `site`: the id of the one to make
        again, where several share the storage.

        Misconfigured while a bmid is at work on it, or where the settings name targets in another way than nodes were
        told; Refused `database-occupied` and `several-sites`; TransientError where the storage is out of reach.
        """
        database = make_database(self._settings)
        with closing(database), ExitStack() as held:
            database.verify()
            for lock in take_locks(self._settings, database):
                held.enter_context(lock)
            with database.read() as tx:
                self._require_new(tx)
            everything = list(self._remnants())
            found, chosen = of_one_site(everything, site)
            opened = {disk for disk in contested(found) if self._open(disk)}
            with database.write() as tx:
                self._require_new(tx)
                made = recover(found, opened, tx.now, self._expiry(tx.now))
                made.elsewhere = len(everything) - len(found)
                self._require_names(made)
                if not rehearse:
                    _write(tx, made)
                    begin_anew(tx, chosen or uuid.uuid4().hex)
        return made

    def _require_new(self, tx: Tx) -> None:
        require_rest(tx, self._settings.engine.dead_after)
        require_empty(tx, "Rows are made again in an empty database only: take a new one, and say bmid migrate.")

    def _require_names(self, made: Recovery) -> None:
        """The settings name targets as nodes were told. Raises Misconfigured."""
        site = make_site(self._settings, "")
        for disk, told in made.iqns.items():
            if told != site.target(disk):
                detail = f"nodes were told {told}, and the settings name that target {site.target(disk)}"
                raise Misconfigured(detail, todo="Set target.iqn_prefix as it was.")

    def _expiry(self, now: datetime) -> datetime:
        return now + timedelta(days=self._settings.storage.trash_days)

    def _remnants(self) -> Iterator[Remnant]:
        """Everything of ours, one after the other."""
        total = sum(1 for _ in self._storage.inventory(metadata=False))
        trash = {one.id: one for one in self._storage.trash() if not one.spoiled}
        for number, thing in enumerate(self._storage.inventory(), 1):
            self._progress(min(number, total), total)
            if thing.kind == "trash" and thing.id in trash:
                yield self._gone(thing, trash[thing.id])
            elif thing.kind == "image":
                yield self._image(thing)
            elif thing.kind == "disk":
                yield Remnant("disk", thing.id, thing.metadata, thing.size)

    def _gone(self, thing: Stored, entry: TrashEntry) -> Remnant:
        kind: Literal["image", "disk"] = "image" if entry.kind == "image" else "disk"
        return Remnant(kind, thing.id, thing.metadata, thing.size, trashed=True, removed_at=entry.removed_at)

    def _image(self, thing: Stored) -> Remnant:
        """One that isn't golden says nothing that counts. What an earlier version didn't write down is read."""
        if not self._storage.sealed(thing.id):
            return Remnant("image", thing.id)
        modes = None
        if "firmware" not in thing.metadata:
            modes = firmware_modes(lambda offset, length: self._storage.read_image(thing.id, offset, length))
        return Remnant("image", thing.id, thing.metadata, thing.size, firmware=modes)

    def _open(self, disk: str) -> bool:
        try:
            return self._storage.owner(disk) is not None
        except TransientError as error:
            if error.problem.slug != "owner-unclear":
                raise
            return bool(error.problem.extra["clients"])


def _write(tx: Tx, made: Recovery) -> None:
    apply(tx, made.changes())
    for name, shards in made.heads.items():
        if heads.find(tx, name) is None:
            heads.beat(tx, name, heads.GONE, Presence(shards))
    dump.raise_number(tx, made.number + dump.LEAP)


def shape(made: Recovery) -> dict[str, Any]:
    """What was found, for programs and for a table."""
    count: Counter[tuple[str, str]] = Counter()
    for image in made.images.values():
        count[image.project, "images"] += 1
    for disk in made.disks.values():
        what = "mapped" if disk.state is DiskState.MAPPED else "disks without a node"
        count[disk.project, what] += 1
    for gone in made.trash.values():
        count[gone.project, "in the trash"] += 1
    kinds = ("images", "mapped", "disks without a node", "in the trash")
    return {
        "projects": [
            {"project": name, **{kind: count[name, kind] for kind in kinds}} for name in sorted(made.projects)
        ],
        "nodes": len(made.nodes),
        "heads": {name: sorted(shards) for name, shards in sorted(made.heads.items())},
        "highest_number": made.number,
        "of_other_sites": made.elsewhere,
        "doubts": [vars(doubt) for doubt in made.doubts],
        "not_in_the_storage": list(LOST),
    }
