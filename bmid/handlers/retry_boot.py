"""boot.retry, by the daemon itself: a node that has not booted in time is power cycled once more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar

from bmid.handlers.base import Context, Handler, Outcome
from bmid.messages.base import Command, Event
from bmid.model.change import Change, Put
from bmid.model.claim import Key
from bmid.model.entity import Boot, BootStage
from bmid.model.name import NodeName
from bmid.steps.base import Plan
from bmid.steps.power import BootFromNetwork, CyclePower
from bmid.steps.target import NoteSessions

__all__ = ["HANDLER", "BootRetried", "RetryBoot"]


class RetryBoot(Command):
    """Cycle a node that has not booted."""

    type: ClassVar[str] = "bmi.boot.retry.v1"
    node: NodeName
    disk: str

    def subject(self) -> str:
        """The node."""
        return f"node/{self.node}"


class BootRetried(Event):
    """The node was cycled once more. `changed` is False if it booted or was unmapped meanwhile."""

    type: ClassVar[str] = "bmi.boot.retried.v1"
    operation: str
    node: str
    disk: str
    changed: bool

    def subject(self) -> str:
        """The node."""
        return f"node/{self.node}"


def keys(command: RetryBoot) -> tuple[Key, ...]:
    """The node, exclusively."""
    return (Key(f"node:{command.node}", exclusive=True),)


def plan(command: RetryBoot, context: Context) -> Plan:
    """Boot device, then power; nothing, where a command that came first has set another deadline, or none."""
    node, boot = context.view.node(command.node), context.view.boot(command.disk)
    disk = context.view.disk(command.disk)
    if node is None or disk is None or node.power is None or node.disk != command.disk or not _late(boot, context):
        return Plan(memo={"changed": False})
    bmc = vars(node.power)
    note = NoteSessions(shard=disk.shard or "", number=disk.number)
    stages = ((BootFromNetwork(**bmc), note), (CyclePower(**bmc, stays=True),))
    return Plan(stages=stages, home=disk.head, memo={"changed": True})


def _late(boot: Boot | None, context: Context) -> bool:
    if boot is None or boot.stage in (BootStage.BOOTED, BootStage.FAILED):
        return False
    return boot.deadline is not None and boot.deadline <= context.now


def finish(command: RetryBoot, context: Context, plan: Plan, marks: Mapping[str, Any]) -> Outcome:
    """A new attempt with a new deadline."""
    changed = bool(plan.memo["changed"])
    event = BootRetried(operation=context.operation, node=command.node, disk=command.disk, changed=changed)
    boot = context.view.boot(command.disk)
    return Outcome(event, _again(boot, context, marks) if changed and boot else ())


def undo(command: RetryBoot, context: Context, plan: Plan, marks: Mapping[str, Any]) -> tuple[Change, ...]:
    """One that failed was an attempt, too; else the next would follow at once, and for ever."""
    boot = context.view.boot(command.disk)
    return _again(boot, context, marks) if boot and _late(boot, context) else ()


def _again(boot: Boot, context: Context, marks: Mapping[str, Any]) -> tuple[Change, ...]:
    deadline = context.now + timedelta(seconds=context.site.boot_deadline)
    again = replace(
        boot,
        stage=BootStage.WAITING,
        attempt=boot.attempt + 1,
        started_at=context.now,
        deadline=deadline,
        base=int(marks.get("base", boot.base)),
    )
    return (Put(again),)


HANDLER = Handler(RetryBoot, BootRetried, keys, plan, finish, undo=undo, internal=True)
