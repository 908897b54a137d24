"""node.register: a physical machine becomes known. Again with other values: they replace the old ones."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from bmid.errors import Refused
from bmid.handlers.base import Context, Handler, Outcome
from bmid.messages.base import Command, Event
from bmid.model.change import Put
from bmid.model.claim import Key
from bmid.model.entity import Firmware, Network, Node, PowerAddress
from bmid.model.name import Label, Labels, Mac, NodeName, Text
from bmid.steps.base import Plan

__all__ = ["HANDLER", "NodePower", "NodeRegistered", "RegisterNode"]


def _address(value: str) -> str:
    return str(ipaddress.ip_address(value))


def _once(macs: tuple[str, ...]) -> tuple[str, ...]:
    if twice := sorted({mac for mac in macs if macs.count(mac) > 1}):
        raise ValueError(f"{', '.join(twice)} is listed more than once")
    return macs


class NodePower(BaseModel):
    """How the node's power is switched. `credential` is the name of a secret that the head knows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    driver: Label
    address: Annotated[str, StringConstraints(pattern=r"^[!-~]+$", max_length=255)]
    credential: Label | None = None


class RegisterNode(Command):
    """Register a node, or change what is known of it."""

    type: ClassVar[str] = "bmi.node.register.v1"
    node: NodeName
    macs: Annotated[tuple[Mac, ...], AfterValidator(_once)] = Field(
        min_length=1, max_length=32, description="MAC addresses of all network cards"
    )
    boot_mac: Mac | None = Field(None, description="the card that boots; the first one where it isn't said")
    firmware: Firmware = Field(Firmware.ANY, description="what the node starts with: bios, uefi or any")
    address: Annotated[str, AfterValidator(_address)] | None = Field(
        None, description="the address that it shall have on the boot network"
    )
    labels: Labels = Field(default_factory=dict)
    power: NodePower | None = None
    hil_name: Text | None = None

    def subject(self) -> str:
        """The node."""
        return f"node/{self.node}"


class NodeRegistered(Event):
    """The node is known. `changed` is False if it was, with the same values."""

    type: ClassVar[str] = "bmi.node.registered.v1"
    operation: str
    node: str
    macs: tuple[str, ...]
    boot_mac: str
    firmware: str
    address: str | None = None
    changed: bool

    def subject(self) -> str:
        """The node."""
        return f"node/{self.node}"


def keys(command: RegisterNode) -> tuple[Key, ...]:
    """The node, exclusively."""
    return (Key(f"node:{command.node}", exclusive=True),)


def plan(command: RegisterNode, context: Context) -> Plan:
    """Nothing in the world."""
    boot_mac = command.boot_mac or command.macs[0]
    if boot_mac not in command.macs:
        raise Refused("boot-nic-unknown", f"the boot NIC {boot_mac} is not among the node's MACs", todo="List it too.")
    _require_unique(command, context)
    before = context.view.node(command.node)
    if before and before.disk and (before.boot_mac, before.address) != (boot_mac, command.address):
        raise Refused(
            "node-mapped",
            f"node {command.node} is mapped; its boot NIC and address can't change under it",
            todo="Unmap it first.",
        )
    after = _node(command, context, before)
    return Plan(memo={"changed": after != before})


def _require_unique(command: RegisterNode, context: Context) -> None:
    for mac in command.macs:
        other = context.view.node_with_mac(mac)
        if other and other.name != command.node:
            raise Refused("mac-taken", f"MAC {mac} belongs to node {other.name}", todo="Remove it there first.")
    if command.address is None:
        return
    other = context.view.node_with_address(command.address)
    if other and other.name != command.node:
        detail = f"address {command.address} is wished for by node {other.name}"
        raise Refused("address-taken", detail, todo="Choose another one.")
    network = context.view.network(context.site.network)
    if network:
        _require_usable(command.address, network, {network.portal, *(home.portal for home in context.view.homes())})
    holder = context.view.disk_at(context.site.network, command.address)
    if holder and holder.node != command.node:
        detail = f"address {command.address} is in use by {holder.name}"
        raise Refused("address-taken", detail, todo="Choose another one.")


def _require_usable(address: str, network: Network, portals: set[str]) -> None:
    subnet, wished = ipaddress.ip_network(network.subnet), ipaddress.ip_address(address)
    if wished not in subnet or wished in (subnet.network_address, subnet.broadcast_address):
        detail = f"address {address} is none for a node in {network.subnet}, the subnet of boot network {network.name}"
        raise Refused("address-outside", detail, todo="Choose one of it, neither its first nor its last.")
    if address in {portal.rpartition(":")[0] for portal in portals}:
        detail = f"address {address} is a head's portal on boot network {network.name}"
        raise Refused("address-taken", detail, todo="Choose another one.")


def _node(command: RegisterNode, context: Context, before: Node | None) -> Node:
    power = command.power
    return Node(
        id=before.id if before else context.operation,
        name=command.node,
        macs=command.macs,
        boot_mac=command.boot_mac or command.macs[0],
        firmware=command.firmware,
        created_at=before.created_at if before else context.now,
        address=command.address,
        labels=command.labels,
        power=PowerAddress(power.driver, power.address, power.credential) if power else None,
        hil_name=command.hil_name,
        disk=before.disk if before else None,
        generation=before.generation if before else 0,
        aside=before.aside if before else None,
    )


def finish(command: RegisterNode, context: Context, plan: Plan, marks: Mapping[str, Any]) -> Outcome:
    """The row."""
    node = _node(command, context, context.view.node(command.node))
    event = NodeRegistered(
        operation=context.operation,
        node=node.name,
        macs=node.macs,
        boot_mac=node.boot_mac,
        firmware=node.firmware,
        address=node.address,
        changed=plan.memo["changed"],
    )
    return Outcome(event, (Put(node),) if plan.memo["changed"] else ())


HANDLER = Handler(RegisterNode, NodeRegistered, keys, plan, finish)
