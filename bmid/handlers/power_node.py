"""node.power: a node is switched on or off, or power cycled, in its turn among the other commands to the node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

from pydantic import Field

from bmid.errors import Refused
from bmid.handlers import demand, way
from bmid.handlers.base import Context, Handler, Outcome
from bmid.messages.base import Event, NodeCommand
from bmid.model.change import Change, Put
from bmid.model.claim import Key
from bmid.model.entity import BootStage, Disk, PowerAddress
from bmid.model.name import ProjectName
from bmid.steps.base import Plan, Step
from bmid.steps.isolation import RequireAllocated
from bmid.steps.power import BootFromNetwork, CyclePower, PowerOff, PowerOn
from bmid.steps.target import NoteSessions

__all__ = ["HANDLER", "NodePowered", "PowerNode"]

UNDER_WAY = frozenset({BootStage.WAITING, BootStage.FIRMWARE, BootStage.INITRAMFS})


class PowerNode(NodeCommand):
    """Switch a node on or off, or power cycle it. A mapped node boots its disk."""

    type: ClassVar[str] = "bmi.node.power.v1"
    project: ProjectName
    action: Literal["on", "off", "cycle"] = Field(
        description="off is hard, as if the plug were pulled; cycle is off and on, or on if it was off"
    )


class NodePowered(Event):
    """The power is as the BMC reads it back. `changed` is False if it was so before."""

    type: ClassVar[str] = "bmi.node.powered.v1"
    operation: str
    project: str
    node: str
    action: str
    power: str
    changed: bool

    def subject(self) -> str:
        """The node."""
        return f"node/{self.node}"


def keys(command: PowerNode) -> tuple[Key, ...]:
    """The project shared, the node exclusively."""
    return (Key(f"project:{command.project}", exclusive=False), Key(f"node:{command.node}", exclusive=True))


def plan(command: PowerNode, context: Context) -> Plan:
    """Ask the BMC, and look what it has done. What sessions were there before is noted for the boot that is watched."""
    demand.require_project(context.view, command.project)
    node = demand.require_node(context.view, command.node)
    disk = context.view.disk(node.disk) if node.disk else None
    if disk and command.action == "off":
        demand.require_own(disk, command.project)
    elif disk:
        demand.require_mapped(context.view, command.project, command.node)
    if node.power is None:
        detail = f"node {node.name} has no power driver"
        raise Refused("no-power-driver", detail, todo="Register its power, or switch it by hand.")
    first: tuple[Step, ...] = (RequireAllocated(project=command.project, node=node.name),)
    if disk:
        first = (*first, NoteSessions(shard=disk.shard or "", number=disk.number))
    last = _switch(command, context, node.power, network=disk is not None)
    stages = (first, *((one,) for one in last))
    return Plan(stages=stages, home=disk.head if disk else None, memo={"disk": disk and disk.id})


def _switch(command: PowerNode, context: Context, power: PowerAddress, *, network: bool) -> tuple[Step, ...]:
    deadline, bmc = context.site.power_off_deadline, vars(power)
    if command.action == "off":
        return (PowerOff(**bmc, deadline=deadline),)
    if command.action == "on":
        return (PowerOn(**bmc, deadline=deadline, network=network),)
    boot: tuple[Step, ...] = (BootFromNetwork(**bmc),) if network else ()
    return (*boot, CyclePower(**bmc, stays=True))


def finish(command: PowerNode, context: Context, plan: Plan, marks: Mapping[str, Any]) -> Outcome:
    """A mapped node that was started boots anew; what is switched off is not waited for any more."""
    changed = bool(marks.get("cycled") or marks.get("on-asked") or marks.get("off-asked"))
    event = NodePowered(
        operation=context.operation,
        project=command.project,
        node=command.node,
        action=command.action,
        power="off" if command.action == "off" else "on",
        changed=changed,
    )
    disk = context.view.disk(plan.memo["disk"]) if plan.memo["disk"] and changed else None
    return Outcome(event, _watched(command, context, disk, int(marks.get("base") or 0)) if disk else ())


def _watched(command: PowerNode, context: Context, disk: Disk, base: int) -> tuple[Change, ...]:
    if command.action != "off":
        return (Put(way.boot_of(context, disk, powered=True, base=base)),)
    boot = context.view.boot(disk.id)
    if boot is None or boot.stage not in UNDER_WAY:
        return ()
    # Should somebody else switch it on, its boot is still seen; but nobody is in a hurry.
    return (Put(replace(boot, stage=BootStage.WAITING, deadline=None, base=base)),)


HANDLER = Handler(PowerNode, NodePowered, keys, plan, finish)
