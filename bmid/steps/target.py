"""Steps on the iSCSI export of a disk."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar, Literal

from bmid.drivers.base import Export, ExportStatus
from bmid.errors import Refused, TransientError
from bmid.model.entity import Disk
from bmid.model.site import Site
from bmid.steps.base import Step, Wait, World

__all__ = ["ExportDisk", "NoteSessions", "RemoveExport", "RequireQuiet"]

MADE = "made"  # the mark of the client of the target that this operation has made
WATCH = timedelta(seconds=3)  # how long the counters of a session are watched for a sign of life


class ExportDisk(Step):
    """The disk is exported to one initiator, and whoever exported it before is cut off.

    A disk that nobody was noted to export was never open to an initiator: there is nobody to cut off. `again` says
    that it was exported before. Where the storage knows no owners, nobody is ever noted, and only a look tells.
    `moved` says that it was at another head meanwhile: who was noted is that one's, and a target that stands here is of
    before, whose client was cut off.
    """

    kind: ClassVar[str] = "export-disk"
    disk: str
    shard: str
    number: int
    iqn: str
    address: str
    generation: int
    again: bool = False
    moved: bool = False
    seed: bool = False

    @classmethod
    def of(cls, disk: Disk, site: Site, *, again: bool = False, moved: bool = False) -> ExportDisk:
        """For a disk that has its home and address."""
        return cls(
            disk=disk.id,
            shard=disk.shard or "",
            number=disk.number,
            iqn=site.target(disk.id),
            address=disk.address or "",
            generation=disk.generation,
            again=again,
            moved=moved,
            seed=disk.seed is not None,
        )

    def apply(self, world: World) -> Wait | None:
        """Create the target, note its client, then let the initiator in: nothing unrecorded ever gets I/O."""
        export = self._export(world)
        recorded = world.notes.owner(self.disk)
        if recorded is not None or self.again or not world.storage.capabilities.owners:
            ours = not self.moved or (recorded is not None and world.notes.mark(MADE) == recorded)
            if ours and self._stands(world, export, world.target.status(self.shard, self.number), recorded):
                return None
            world.storage.fence(self.disk, [recorded] if recorded else [])
        world.target.create(self.shard, export)
        owner = self._owner(world)
        if self.moved:
            world.notes.write(MADE, owner)
        world.notes.record_owner(self.disk, owner)
        world.target.admit(self.shard, export)
        return None

    def _owner(self, world: World) -> str | None:
        try:
            return world.storage.owner(self.disk)
        except TransientError:
            # Somebody beside our own target has it open: cut all of them off, and begin again.
            world.storage.fence(self.disk, [])
            raise

    def revert(self, world: World) -> Wait | None:
        """No target."""
        world.target.remove(self.shard, self.number, self.disk)
        return None

    def _export(self, world: World) -> Export:
        return Export(
            number=self.number,
            iqn=self.iqn,
            backing=world.storage.backing(self.disk),
            address=self.address,
            user=self.disk,
            secret=world.secret(self.disk, self.generation),
            seed=world.seeds.backing(self.disk) if self.seed else None,
        )

    def _stands(self, world: World, export: Export, status: ExportStatus | None, recorded: str | None) -> bool:
        if status is None or not status.open or status.iqn != self.iqn or status.addresses != (self.address,):
            return False
        if status.seed != (export.seed.path if export.seed else None):
            return False
        return status.user == self.disk and self._only(world, recorded)

    def _only(self, world: World, recorded: str | None) -> bool:
        """Whether the client that was noted has the disk open, and nobody beside it."""
        try:
            return world.storage.owner(self.disk) == recorded
        except TransientError as error:
            if error.problem.slug != "owner-unclear":
                raise
            return False


class NoteSessions(Step):
    """The sessions of before a power cycle are known, so that they are not taken for signs of the next boot."""

    kind: ClassVar[str] = "note-sessions"
    shard: str
    number: int

    def apply(self, world: World) -> Wait | None:
        """Once, before the cycle."""
        if world.notes.mark("base") is None:
            status = world.target.status(self.shard, self.number)
            world.notes.write("base", max((one.id for one in status.sessions), default=0) if status else 0)
        return None


class RemoveExport(Step):
    """There is no target for the disk, and no session at it."""

    kind: ClassVar[str] = "remove-export"
    disk: str
    shard: str
    number: int

    def apply(self, world: World) -> Wait | None:
        """Fence, then remove."""
        world.target.remove(self.shard, self.number, self.disk)
        return None


class RequireQuiet(Step):
    """Nobody uses the disk: refuses while a session is alive, in the words of what it is needed for. Where a snapshot
    will do that is consistent as after a crash, it is not needed if the storage can make one.

    A session is alive if it is listed and its counters move, or if its address answers ARP: a node that lost its
    power sends no FIN and stays listed for up to an hour.
    """

    kind: ClassVar[str] = "require-quiet"
    node: str
    disk: str
    shard: str
    number: int
    address: str
    purpose: Literal["unmap", "snapshot", "crash-consistent"] = "unmap"

    @classmethod
    def of(cls, disk: Disk, purpose: Literal["unmap", "snapshot", "crash-consistent"] = "unmap") -> RequireQuiet:
        """For a disk on a node."""
        return cls(
            node=disk.node or "",
            disk=disk.name,
            shard=disk.shard or "",
            number=disk.number,
            address=disk.address or "",
            purpose=purpose,
        )

    def apply(self, world: World) -> Wait | None:
        """Look twice, some seconds apart."""
        if self.purpose == "crash-consistent" and world.storage.capabilities.live_snapshot:
            return None
        if world.notes.mark("frozen"):
            return None  # what was asked for is safe: from here on the node may do what it likes
        status = world.target.status(self.shard, self.number)
        sessions = status.sessions if status else ()
        if not sessions or world.notes.mark("quiet"):
            return None
        counters = {str(one.id): [one.bytes_read, one.bytes_written] for one in sessions}
        answers = world.boot.answers(self.address)
        before: dict[str, Any] | None = world.notes.mark("counters")
        now = world.notes.now()
        if before is None:
            world.notes.write("counters", counters)
            return Wait(now + WATCH, "watches whether the session at the target is alive")
        if counters != before or answers:
            raise self._refusal()
        if answers is None:
            return Wait(now + timedelta(seconds=1), "asks whether the node's address still answers")
        world.notes.write("quiet", True)
        return None

    def _refusal(self) -> Refused:
        running = f"node {self.node} is running from disk {self.disk}"
        if self.purpose == "unmap":
            detail = f"{running}, and has no power driver to switch it off"
            todo = "Shut the node down and send the command again, or send it with force: true to cut it off."
        elif self.purpose == "snapshot":
            detail = running
            todo = "Shut it down first, or ask with crash_consistent: true for a snapshot as after a power cut."
        else:
            detail = f"{running}, and this storage can't make a consistent snapshot of a disk in use"
            return Refused("live-snapshot-unsupported", detail, todo="Shut it down first.")
        return Refused("session-live", detail, todo=todo)
