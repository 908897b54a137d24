"""Nodes that only exist here: switched on, they log in at their target as firmware, initramfs and system do.

They know what a real node would know: the pointer that the boot driver has for their address, and whether the BMC has
power on. What their log-ins mean, the boot watch decides as it does for real ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import structlog

from bmid.drivers.base import BootEntry, PowerState
from bmid.errors import BmiError
from bmid.model.entity import Boot, Node
from bmid.sandbox.fault import NEVER_BOOTS, faults_of, seconds_of

__all__ = ["BOOT_DELAY", "Nodes"]

log = structlog.get_logger(__name__)
BOOT_DELAY = "sandbox.boot-delay"
TURN = 0.1  # seconds
BEAT = 0.7  # seconds; a running system reads now and then
ROWS = 1.0  # seconds for which rows are remembered
# What logs in when, in parts of the time that a boot takes; the bytes that it reads and writes at once.
STAGES = (("firmware", 0.5, 2 << 20, 0), ("initramfs", 0.8, 4 << 20, 0), ("system", 1.0, 8 << 20, 64 << 10))


@dataclass
class _Machine:
    """One node with a pointer. `since`: when it began to boot; `starts`: how often its BMC had powered it on then."""

    entry: BootEntry
    since: float | None = None
    starts: int = 0
    beat: float = 0.0
    place: tuple[str, int] | None = None
    sessions: dict[str, int] = field(default_factory=dict)


class Nodes:
    """All of them, in turns. `target`, `boot` and `power` are drivers in memory; `delay` is in seconds.

    `look` finds a node's row and the row of its boot. A node without power driver is on from the start.
    """

    def __init__(
        self,
        target: Any,
        boot: Any,
        power: Any,
        look: Callable[[Mapping[str, str]], Mapping[str, tuple[Node | None, Boot | None]]],
        delay: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._target = target
        self._boot = boot
        self._power = power
        self._look = look
        self._delay = delay
        self._clock = clock
        self._machines: dict[str, _Machine] = {}
        self._rows: Mapping[str, tuple[Node | None, Boot | None]] = {}
        self._due = 0.0

    def run_once(self) -> float:
        """One look at all of them; the seconds until the next one."""
        now = self._clock()
        entries: dict[str, BootEntry] = dict(self._boot.entries)
        for address, machine in list(self._machines.items()):
            if entries.get(address) != machine.entry:
                self._leave(machine)
                self._boot.answering.pop(address, None)
                del self._machines[address]
        if now >= self._due or not entries.keys() <= self._machines.keys():
            self._rows = self._look({entry.node: entry.disk for entry in entries.values()})
            self._due = now + ROWS
        for address, entry in entries.items():
            self._live(self._machines.setdefault(address, _Machine(entry)), now)
        return TURN

    def _live(self, machine: _Machine, now: float) -> None:
        node, boot = self._rows.get(machine.entry.node, (None, None))
        on, starts = self._powered(node)
        if not on or machine.since is None or starts != machine.starts:
            self._leave(machine)
            machine.since, machine.starts = (now if on else None), starts
        delay = self._boot_delay(node, boot)
        if machine.since is not None and delay is not None:
            try:
                self._go_on(machine, (now - machine.since) / delay if delay else 1.0, now)
            except (PermissionError, KeyError):  # the target isn't there (any more): it tries again from the start
                self._leave(machine)
                machine.since = now
        self._boot.answering[machine.entry.address] = bool(machine.sessions)

    def _powered(self, node: Node | None) -> tuple[bool, int]:
        if node is None or node.power is None:
            return node is not None, 0
        switch = self._power.switch(node.power.address)
        return switch.state == PowerState.ON, switch.starts

    def _boot_delay(self, node: Node | None, boot: Boot | None) -> float | None:
        """Seconds that the boot takes; None: it never boots."""
        if node is None:
            return None
        try:
            never = [fault for fault in faults_of(node.name, node.labels) if fault.word == NEVER_BOOTS]
            if never and not (never[0].transient and boot is not None and boot.attempt > 1):
                return None
            return seconds_of(node.name, node.labels, BOOT_DELAY, self._delay)
        except BmiError as error:
            log.warning("sandbox.label_unknown", node=node.name, detail=str(error))
            return None

    def _go_on(self, machine: _Machine, age: float, now: float) -> None:
        """Log in as whoever's turn it is; a system that runs reads."""
        for stage, begin, read, written in STAGES:
            if age >= begin and stage not in machine.sessions:
                self._log_in(machine, stage, read, written)
                machine.beat = now + BEAT
        if "system" in machine.sessions and now >= machine.beat:
            machine.beat = now + BEAT
            shard, number = self._find(machine)
            status = self._target.status(shard, number)
            if status is None or machine.sessions["system"] not in [one.id for one in status.sessions]:
                raise KeyError(number)
            self._log_out(machine, "initramfs")
            self._target.move(shard, number, machine.sessions["system"], 64 << 10, 4 << 10)

    def _log_in(self, machine: _Machine, stage: str, read: int, written: int) -> None:
        entry = machine.entry
        shard, number = self._find(machine)
        alias = None if stage == "firmware" else entry.hostname
        identity = {"address": entry.address, "user": entry.user, "secret": entry.secret}
        session = self._target.log_in(shard, number, **identity, initiator=entry.initiator, alias=alias)
        self._target.move(shard, number, session, read, written)
        if stage != "firmware":
            self._log_out(machine, "firmware")
        machine.sessions[stage] = session

    def _find(self, machine: _Machine) -> tuple[str, int]:
        """Shard and number of the target. KeyError where it isn't there."""
        if machine.place is None or self._target.status(*machine.place) is None:
            found = ((shard, one) for shard in self._target.shards for one in self._target.exports(shard))
            machine.place = next(((s, one.number) for s, one in found if one.iqn == machine.entry.iqn), None)
        if machine.place is None:
            raise KeyError(machine.entry.iqn)
        return machine.place

    def _leave(self, machine: _Machine) -> None:
        """Its power went, or its disk."""
        for stage in list(machine.sessions):
            self._log_out(machine, stage)
        machine.sessions.clear()

    def _log_out(self, machine: _Machine, stage: str) -> None:
        session = machine.sessions.get(stage)
        if session and machine.place:
            with suppress(KeyError):
                self._target.log_out(*machine.place, session)
