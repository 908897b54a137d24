"""Fate: strikes at the moments and times that a story names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from bmid.engine.turn import Turn
from bmid.errors import PermanentError, TransientError
from bmid.model.operation import Phase
from tests.support.accident import Killed
from tests.support.world.head import Head
from tests.support.world.story import Fault, Story

if TYPE_CHECKING:
    from tests.support.world.world import World

__all__ = ["Fate"]

# What is undone whole where it can never work; a removal that can't go on is a person's business.
UNDONE = ("node.map", "image.import", "image.copy", "disk.create", "node.snapshot", "disk.snapshot")
LATENCIES = (0.0, 0.0, 0.01, 0.1, 0.5)


class Fate:
    """`hopeless` are the operations that met something which never works; `jumped`: the clock has gone ahead."""

    def __init__(self, world: World, story: Story) -> None:
        self.world = world
        self.quiet = False
        self.hopeless: set[str] = set()
        self.jumped = False
        self._over: list[Callable[[], None]] = []
        self._waiting = [[one, one.nth] for one in story.faults if one.nth >= 0]
        for one in story.faults:
            if one.nth < 0:
                world.stage.add("fate", one.kind, lambda one=one: self.befall(one), after=one.at)

    def moment(self, head: Head, what: str, turn: Turn | None = None) -> None:
        """A head is before or after something. May pause, and may raise."""
        if self.quiet:
            return
        self.world.stage.note(f"{head.name} {what}")
        fault = self._come(head, what)
        if fault is not None:
            self._strike(head, fault, what, turn)
        elif turn is not None:
            self.world.stage.pause(self.world.stage.chance.choice(LATENCIES))

    def _come(self, head: Head, what: str) -> Fault | None:
        """The fault whose moment this is."""
        for waiting in self._waiting:
            if waiting[0].where in ("", head.name) and waiting[0].what in ("", what):
                waiting[1] -= 1
        due = next((one for one in self._waiting if one[1] <= 0), None)
        if due is not None:
            self._waiting.remove(due)
        return due[0] if due else None

    def _strike(self, head: Head, fault: Fault, what: str, turn: Turn | None) -> None:
        if fault.kind == "kill":
            self.world.stage.tell(f"{head.name} dies {what}")
            self._kill(head, fault.seconds)
            raise Killed
        if what == "before commit":
            if fault.kind == "error":
                raise TransientError("database-away", "the connection was cut before the commit")
            self._waiting.append([replace(fault, what="after commit"), 1])  # nobody freezes in a transaction
        elif fault.kind == "freeze":
            self.world.stage.tell(f"{head.name} freezes {what}")
            head.freeze(fault.seconds)
            self.world.stage.pause(0.0)
        elif fault.kind == "slow":
            self.world.stage.tell(f"{head.name} waits long {what}")
            self.world.stage.pause(fault.seconds)
        elif fault.kind == "error":
            self.world.stage.tell(f"{head.name} has an error ({fault.value}) {what}")
            self._raise(fault.value, what, turn)

    def _raise(self, value: str, what: str, turn: Turn | None) -> None:
        if what.endswith("commit"):
            raise TransientError("database-away", "the connection was cut after the commit")
        if turn is None:
            return
        kind = turn.record.type.removeprefix("bmi.").removesuffix(".v1")
        if value == "permanent" and kind in UNDONE and turn.record.phase is Phase.RUNNING:
            self.hopeless.add(turn.operation)
            raise PermanentError("accident", "this will never work")
        if value == "surprise":
            raise RuntimeError("nobody thought of this")
        raise TransientError("accident", "this may work later")

    def _kill(self, head: Head, seconds: float) -> None:
        head.kill()
        self.world.stage.add("fate", "restart", lambda: self._restart(head), after=seconds)

    def _restart(self, head: Head) -> None:
        while head.stopped:
            self.world.stage.pause(1.0)
        if not head.alive and not head.off:
            head.start()

    def expect(self, fault: Fault) -> None:
        """It strikes at its moment."""
        self._waiting.append([fault, fault.nth])

    def befall(self, fault: Fault) -> None:
        """It strikes now."""
        if self.quiet:
            return
        world, head = self.world, self.world.by_name.get(fault.where)
        world.stage.tell(f"befalls: {fault.kind} {fault.where} {fault.value} {fault.seconds:.0f} s")
        if fault.kind == "kill" and head and head.alive:
            self._kill(head, fault.seconds)
        elif fault.kind == "freeze" and head and head.alive:
            head.freeze(fault.seconds)
        elif fault.kind in ("off", "stop", "drain", "move") and head:
            self._depart(fault, head)
        elif fault.kind == "tgtd" and head and head.up:
            head.target.restart(fault.value)
        elif fault.kind == "shard" and head:
            head.target.down.add(fault.value)
            self._later(fault.seconds, lambda: head.target.down.discard(fault.value))
        elif fault.kind == "bmc":
            self._bmc(fault)
        elif fault.kind == "database" and head:
            end = world.stage.now + fault.seconds
            head.database.away = lambda: not self.quiet and world.stage.now < end
        elif fault.kind == "broker":
            world.broker.down_until = world.stage.now + fault.seconds
        elif fault.kind == "confirm":
            world.broker.lost_confirms += int(fault.value)
        elif fault.kind == "clock":
            world.clock.off += fault.seconds
            self.jumped = self.jumped or fault.seconds > 0

    def _depart(self, fault: Fault, head: Head) -> None:
        """A machine goes, for good or for a while; or a person has it emptied."""
        operator = self.world.operator
        if fault.kind == "off" and all(one.up for one in self.world.heads):
            head.lose_power()
        elif fault.kind == "stop" and head.up:
            head.stop(fault.seconds)
            self._later(fault.seconds, head.wake)
        elif fault.kind == "drain":
            operator.drain(head)
            self._later(fault.seconds, lambda: operator.undrain(head))
        elif fault.kind == "move":
            operator.move(fault.value, head)

    def _bmc(self, fault: Fault) -> None:
        switch = self.world.power.switch(f"bmc-{fault.where}")
        setattr(switch, fault.value, True)
        self._later(fault.seconds, lambda: setattr(switch, fault.value, False))

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        self._over.append(act)
        self.world.stage.add("fate", "over", act, after=seconds)

    def end(self) -> None:
        """Nothing goes wrong from now on, and what is dead or frozen comes back."""
        self.quiet = True
        for act in self._over:
            act()
        self._over.clear()
        self._waiting.clear()
        self.world.broker.down_until = self.world.broker.lost_confirms = 0
        for head in self.world.heads:
            self.world.stage.thaw(head.name)
            if not head.alive and not head.off:
                head.start()
