"""What putting a node on a disk consists of, for the commands that do it. No message of its own but their outcome."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, Field

from bmid.errors import Refused
from bmid.handlers import demand, way
from bmid.handlers.base import Context, Outcome
from bmid.messages.base import Event
from bmid.model import placement
from bmid.model.change import Change, Put
from bmid.model.entity import Disk, DiskState, Image, Node, Seed
from bmid.model.name import Label
from bmid.model.seed import NetworkConfig, SshKey, UserData
from bmid.steps.base import Plan

__all__ = [
    "NewSystem",
    "NodeMapped",
    "PowerChoice",
    "chosen_power",
    "free_address",
    "mapped",
    "new_disk",
    "parked",
    "with_disk",
]

Power = Literal["cycle", "none"]
PowerChoice = Annotated[
    Power | None,
    Field(description="cycle: power cycle it; none: leave power alone; not said: cycle where there is a driver"),
]


class NodeMapped(Event):
    """The node is led to its disk. It doesn't say that the node has booted: `bmi.node.booted.v1` does."""

    type: ClassVar[str] = "bmi.node.mapped.v1"
    operation: str
    project: str
    node: str
    image: str
    disk: str
    address: str
    hostname: str
    target: str
    portal: str
    power: str
    changed: bool
    resumed: bool = False

    def subject(self) -> str:
        """The node."""
        return f"node/{self.node}"


class NewSystem(BaseModel):
    """The fields that tell a new system who it is: what cloud-init finds in its seed."""

    hostname: Label | None = Field(None, description="what the new system is called; the node's name if not said")
    ssh_keys: tuple[SshKey, ...] = Field(
        (), max_length=64, description="public keys that may log in to the new system as the image's default user"
    )
    user_data: UserData | None = Field(None, description="cloud-init user data for the first boot; may hold secrets")
    network_config: NetworkConfig | None = Field(None, description="cloud-init network configuration (version 1 or 2)")

    def seed(self) -> Seed | None:
        """What a new system is told, if anything."""
        told = self.hostname or self.ssh_keys or self.user_data or self.network_config
        return Seed(self.ssh_keys, self.user_data, self.network_config) if told else None


def chosen_power(asked: Power | None, node: Node) -> Power:
    """What is done with the power: cycle where there is a driver, if it isn't said."""
    if asked == "cycle" and node.power is None:
        detail = f"node {node.name} has no power driver, so it can't be cycled"
        raise Refused("no-power-driver", detail, todo="Register its power, or send it with power: none.")
    return asked or ("cycle" if node.power else "none")


def free_address(context: Context, node: Node) -> str:
    """An address on the boot network: the one that the node wishes for, unless a parked disk keeps it."""
    view = context.view
    network = view.network(context.site.network)
    if network is None:
        detail = f"there is no boot network {context.site.network}"
        raise Refused("network-unknown", detail, todo="Start bmid with its addresses in the settings, under [network].")
    taken = dict(view.addresses(network.name))
    wished = node.address
    holder = view.disk_at(network.name, wished) if wished else None
    if wished and holder is None:
        taken.pop(wished, None)  # by the node's own wish; no two nodes wish for the same
    elif holder and holder.state is DiskState.PARKED:
        wished = None
    return placement.choose_address(network, taken, wished, node.name)


def new_disk(
    context: Context, project: str, image: Image, node: Node, home: placement.Home, number: int, address: str
) -> Disk:
    """The row of a disk that is to be made for a node, called like it and without a seed."""
    return Disk(
        id=context.operation,
        project=project,
        name=f"{node.name[:50]}-{context.operation[-12:]}",
        image=image.id,
        size=image.size,
        number=number,
        state=DiskState.MAKING,
        created_at=context.now,
        node=node.name,
        network=context.site.network,
        address=address,
        hostname=node.name,
        head=home.head,
        shard=home.shard,
        portal=home.portal,
        generation=1,
    )


def with_disk(node: Node, disk: Disk | None) -> Node:
    """The node with a disk, or without."""
    return replace(node, disk=disk.id if disk else None, generation=node.generation + (1 if disk else 0))


def parked(disk: Disk) -> Disk:
    """The disk without node and home; name, address and host name stay."""
    return replace(disk, state=DiskState.PARKED, node=None, head=None, shard=None, portal=None, owner=None)


def mapped(
    context: Context, node: str, asked: str | None, plan: Plan, *more: Change, disk: Disk | None = None
) -> Outcome:
    """The disk is in use, its boot is watched, and the event says where all is, the image as it was `asked` for.
    `disk`: as it is after the changes that come first, where that isn't as its row says."""
    view, memo = context.view, plan.memo
    disk = disk or view.disk(memo["disk"])
    assert disk is not None  # noqa: S101 - a row of ours, under our claim
    event = NodeMapped(
        operation=context.operation,
        project=disk.project,
        node=node,
        image=asked or demand.image_of(view, disk).reference,
        disk=disk.name,
        address=disk.address or "",
        hostname=disk.hostname or node,
        target=context.site.target(disk.id),
        portal=disk.portal or view.portal(disk.head or "", disk.shard or "") or "",
        power=memo["power"],
        changed=memo["changed"],
        resumed=memo.get("resumed", False),
    )
    if not memo["changed"]:
        return Outcome(event)
    boot = way.boot_of(context, disk, powered=memo["power"] == "cycle")
    return Outcome(event, (*more, Put(replace(disk, state=DiskState.MAPPED)), Put(boot)))
