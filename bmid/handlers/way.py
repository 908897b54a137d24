"""The stretches of plans that several commands share: a disk's way to its node, and off it. No message of its own.

The visible step is last on the way in, and first on the way out: a node can never boot a disk that is half there.
"""

from __future__ import annotations

from datetime import timedelta

from bmid.handlers import demand
from bmid.handlers.base import Context
from bmid.model import placement
from bmid.model.entity import Boot, BootStage, Disk, Image, Node, PowerAddress
from bmid.steps.base import Stages, Step
from bmid.steps.boot import ClearBoot, PointBoot
from bmid.steps.disk import CloneDisk, DescribeDisk, DiscardDisk
from bmid.steps.power import BootFromNetwork, CyclePower, PowerBack, PowerOff
from bmid.steps.seed import RemoveSeed, WriteSeed
from bmid.steps.target import ExportDisk, RemoveExport, RequireQuiet

__all__ = ["back_on", "boot_of", "clone", "describe", "discarded", "exported", "quiet", "removed", "resume"]


def clone(context: Context, disk: Disk, image: Image, node: Node | None) -> CloneDisk:
    """The disk is made."""
    state = "mapped" if node else "parked"
    metadata = placement.metadata(disk, image, node, context.site, state)
    return CloneDisk(image=image.id, disk=disk.id, metadata=metadata)


def resume(context: Context, disk: Disk, image: Image, node: Node, parked: Disk) -> DescribeDisk:
    """The disk is there, and says where it is from now on; on the way back it says again that it is parked."""
    return DescribeDisk(
        disk=disk.id,
        metadata=placement.metadata(disk, image, node, context.site, "mapped"),
        before=placement.metadata(parked, image, None, context.site, "parked"),
    )


def describe(context: Context, disk: Disk, node: Node) -> DescribeDisk:
    """The disk says where it is."""
    image = demand.image_of(context.view, disk)
    return DescribeDisk(disk=disk.id, metadata=placement.metadata(disk, image, node, context.site, "mapped"))


def exported(context: Context, disk: Disk, node: Node, first: Step | None, power: str) -> Stages:
    """First what the disk still needs in the storage, then seed, export, boot pointer and, at last, power."""
    cycled = power == "cycle" and node.power is not None
    begin: tuple[Step, ...] = (first,) if first else ()
    if disk.seed:
        begin = (*begin, WriteSeed(disk=disk.id))
    if cycled:
        begin = (*begin, BootFromNetwork(**_bmc(node.power)))
    stages: Stages = (
        *((begin,) if begin else ()),
        (ExportDisk.of(disk, context.site),),
        (PointBoot.of(node, disk, context.site),),
    )
    return (*stages, (CyclePower(**_bmc(node.power)),)) if cycled else stages


def quiet(context: Context, disk: Disk, node: Node, *, force: bool) -> Stages:
    """The node is off, or nobody uses the disk; with `force` it is cut off from it in any case."""
    if node.power:
        deadline = context.site.power_off_deadline
        return ((PowerOff(**_bmc(node.power), deadline=deadline, force=force),),)
    return () if force else ((RequireQuiet.of(disk),),)


def back_on(context: Context, node: Node) -> Stages:
    """Where the way back ends, the node is on as it was before: stands before it is made quiet."""
    if not node.power:
        return ()
    return ((PowerBack(**_bmc(node.power), node=node.name, deadline=context.site.power_off_deadline),),)


def removed(disk: Disk) -> Stages:
    """Boot pointer, target, seed: nothing leads to the disk any more, and nobody has it open."""
    stages: Stages = (
        (ClearBoot(disk=disk.id, address=disk.address or ""),),
        (RemoveExport(disk=disk.id, shard=disk.shard or "", number=disk.number),),
    )
    return (*stages, (RemoveSeed(disk=disk.id),)) if disk.seed else stages


def discarded(context: Context, disk: Disk, node: Node | None) -> DiscardDisk:
    """The disk goes; its last metadata say whose it was."""
    image = demand.image_of(context.view, disk)
    metadata = placement.metadata(disk, image, node, context.site, "discarded")
    return DiscardDisk(disk=disk.id, metadata=metadata)


def boot_of(context: Context, disk: Disk, *, powered: bool, base: int = 0) -> Boot:
    """The boot that is watched from now on. Without a power cycle of ours it has no deadline."""
    return Boot(
        disk=disk.id,
        node=disk.node or "",
        project=disk.project,
        operation=context.operation,
        correlation=context.correlation,
        stage=BootStage.WAITING,
        attempt=1,
        started_at=context.now,
        deadline=context.now + timedelta(seconds=context.site.boot_deadline) if powered else None,
        base=base,
    )


def _bmc(power: PowerAddress | None) -> dict[str, str]:
    return vars(power) if power else {}
