"""site.reconcile, by the daemon itself or by `bmid fsck --repair`: is the world of one head as the rows say?

Missing things of ours are put back and orphans of ours are taken away, each by an operation of its own that holds the
keys which that needs. Strangers are told of, and never touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from bmid.handlers.base import Context, Handler, Outcome
from bmid.messages.base import Command, Event
from bmid.model.claim import Key
from bmid.model.finding import Kind
from bmid.model.name import Label
from bmid.model.operation import Phase
from bmid.steps.base import Plan
from bmid.steps.group import AwaitMembers
from bmid.steps.reconcile import REPORT, CompareSite

__all__ = ["HANDLER", "ReconcileSite", "SiteReconciled"]


class ReconcileSite(Command):
    """Compare what a head has with the rows, and mend what can be mended."""

    type: ClassVar[str] = "bmi.site.reconcile.v1"
    head: Label = Field(description="the head that looks at what is its own")
    shared: bool = Field(False, description="also look at what all heads share: the storage, and the rows themselves")
    only: tuple[Kind, ...] = Field((), description="mend only findings of these kinds; none: of all")

    def subject(self) -> str:
        """The head."""
        return f"head/{self.head}"


class SiteReconciled(Event):
    """The look has ended, and so has what was mended. What was found counts as it was before."""

    type: ClassVar[str] = "bmi.site.reconciled.v1"
    operation: str
    head: str = Field(description="the head that looked")
    shared: bool = Field(description="whether it also looked at what all heads share")
    findings: dict[str, int] = Field(description="how many things are not as the rows say, by kind")
    mended: int = Field(description="how many were mended")
    failed: int = Field(description="how many could not be mended; each said why in an event of its own")
    silent: dict[str, str] = Field(description="parts that gave no answer, each with the reason")

    def subject(self) -> str:
        """The head."""
        return f"head/{self.head}"


def keys(command: ReconcileSite) -> tuple[Key, ...]:
    """One look of a head at a time, and one at what all share."""
    mine = Key(f"look:{command.head}", exclusive=True)
    return (Key("look:", exclusive=True), mine) if command.shared else (mine,)


def plan(command: ReconcileSite, context: Context) -> Plan:
    """Look, then wait for what mends."""
    step = CompareSite(
        head=command.head,
        iqn_prefix=context.site.iqn_prefix,
        shared=command.shared,
        only=tuple(kind.value for kind in command.only),
    )
    return Plan(stages=((step,), (AwaitMembers(),)), home=command.head)


def finish(command: ReconcileSite, context: Context, plan: Plan, marks: Mapping[str, Any]) -> Outcome:
    """What was found, and what became of it."""
    report = marks[REPORT]
    members = context.view.members(context.operation)
    failed = sum(one.phase is Phase.FAILED for one in members)
    event = SiteReconciled(
        operation=context.operation,
        head=command.head,
        shared=command.shared,
        findings=report["findings"],
        mended=report["settled"] + len(members) - failed,
        failed=failed,
        silent=report["silent"],
    )
    return Outcome(event)


HANDLER = Handler(ReconcileSite, SiteReconciled, keys, plan, finish, internal=True, local=True)
