"""One run from begin to verdict: who starts when, and what is waited for. What is judged how is in `judge`."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from bmi_publish import Client
from bmid.errors import BmiError
from bmid.handlers.create_project import CreateProject
from bmid.handlers.import_image import ImageSource, ImportImage
from bmid.handlers.reconcile_site import SiteReconciled
from bmid.handlers.register_node import NodePower, RegisterNode
from bmid.messages.base import Command
from bmid.messages.envelope import Envelope
from chaos.breaker import Breaker
from chaos.call import interleavings
from chaos.choice import Choice
from chaos.fault import CARE, care, parts_of, schedule
from chaos.fleet import CREDENTIAL, mac, name, powered
from chaos.judge import NO_END, Judge
from chaos.publisher import Publisher
from chaos.report import Report
from chaos.scene import BASE, Scene
from chaos.site import Form, Site
from chaos.subscriber import Subscriber
from lab.process import LabError

__all__ = ["Run"]

PROJECTS = ("p1", "p2", "p3")
PUBLISHERS = (("alice", "a1"), ("alice", "a2"), ("bob", "b1"), ("bob", "b2"))
PACE = 1.2  # seconds between two commands of a publisher, on average
MOST = 60  # commands on their way, from which on publishers wait
FRESH = 60.0  # seconds in which every node that is on a disk must get a write done, when all is quiet
PATIENCE = 330.0  # seconds after the last fault until all must be quiet: longer than the longest back-off


class Run:
    """A run on a site of its own in `folder`. `tell` gets a line for each thing that happens."""

    def __init__(self, folder: Path, form: Form, seed: int, seconds: float, tell: Callable[[str], None]) -> None:
        self.report = Report()
        self.site = Site(folder, form, seed)
        parts = parts_of(form.names, ceph=form.ceph, postgresql=form.postgresql)
        faults = (*schedule(seed, seconds, parts), *care(seed, seconds, form.names))
        self._breaker = Breaker(self.site, faults, tell)
        self._form, self._seed, self._seconds, self._tell = form, seed, seconds, tell
        self._scene = Scene(self._nodes(), frozenset(self._nodes()[::2]), PROJECTS)
        self._subscriber = Subscriber(lambda: self.site.rabbitmq.url("bob"), self._hear)
        self._publishers: list[Publisher] = []
        self._ended: set[str] = set()
        self._first_end: dict[str, float] = {}
        self._dead: list[str] = []

    def _nodes(self) -> tuple[str, ...]:
        return tuple(name(number) for number in range(self._form.nodes))

    def go(self) -> Report:
        """All of it. Raises LabError where the site itself can't be had."""
        threading.excepthook = self._died
        try:
            self._begin()
            self._work()
            self._judge()
        finally:
            self._stop()
            threading.excepthook = threading.__excepthook__
        return self.report

    def _died(self, what: threading.ExceptHookArgs) -> None:
        """A thread that ends by a mistake of its own does nothing from then on: no node, no publisher may do that."""
        name = what.thread.name if what.thread else "a thread"
        self._dead.append(f"{name} has died of {what.exc_value!r}")
        threading.__excepthook__(what)

    def _begin(self) -> None:
        site = self.site
        site.start_services()
        self._subscriber.start()
        site.start_heads()
        self._tell("services and heads are up")
        site.fleet.start_bmc()
        with site.client("alice", "/chaos/setup") as client:
            for project in PROJECTS:
                self._do(client, CreateProject(project=project))
                source = ImageSource(file=site.golden(project))
                self._do(client, ImportImage(project=project, image=BASE, source=source))
            commands = [self._registration(number) for number in range(self._form.nodes)]
            self._do(client, *commands)
        site.fleet.start()
        file = site.golden("extra")
        for user, who in PUBLISHERS:
            chance = random.Random(f"{who} {self._seed}")
            choice = Choice(who, self._scene, chance, random.Random(f"later {who} {self._seed}"), file)
            client = site.client(user, f"/chaos/{who}")
            self._publishers.append(Publisher(who, client, choice, chance, self._enough, PACE))
            self._publishers[-1].start()

    def _registration(self, number: int) -> RegisterNode:
        power = NodePower(driver="redfish", address=self.site.fleet.bmc(number), credential=CREDENTIAL)
        return RegisterNode(node=name(number), macs=(mac(number),), power=power if powered(number) else None)

    def _do(self, client: Client, *commands: Command) -> None:
        for result in client.wait_all([client.ticket(command) for command in commands], 60):
            if not result.ok:
                raise LabError(f"the site can't be made: {result.problem}")

    def _hear(self, event: Envelope) -> None:
        self._scene.hear(event)
        if event.type not in NO_END and event.causationid:
            self._ended.add(event.causationid)
            self._first_end.setdefault(event.causationid, time.monotonic())

    def _sent(self) -> set[str]:
        return {one for publisher in self._publishers for one in list(publisher.sent)}

    def _enough(self) -> bool:
        return len(self._sent() - self._ended) >= MOST

    def _work(self) -> None:
        self._breaker.start()
        last = time.monotonic() + self._seconds
        while (left := last - time.monotonic()) > 0:
            time.sleep(min(10, left))
            self._progress(self._seconds - max(left - 10, 0))
        for publisher in self._publishers:
            publisher.finish()
        self._breaker.join()
        self._tell("the faults are over")

    def _progress(self, now: float) -> None:
        sent, ledger = self._sent(), self.site.fleet.ledger
        self._tell(
            f"{now:6.1f} s  {len(sent)} commands, {len(sent - self._ended)} under way; "
            f"{len(self._scene.mapped)} nodes on disks, {len(self._scene.parked)} disks parked; "
            f"{ledger.acknowledged} writes acknowledged, {len(ledger.wrong)} reads wrong; "
            f"broken: {', '.join(sorted(self._breaker.now)) or 'nothing'}"
        )

    def _judge(self) -> None:
        report, site = self.report, self.site
        judge = Judge({head.name: head.bmid.config for head in site.heads})
        try:
            late = self._wait_quiet(judge)
            report.hanging = self._hanging()
            site.fleet.stop()
            troubles = [one for machine in site.fleet.machines for one in machine.troubles]
            (site.folder / "nodes.log").write_text("\n".join(troubles))
            (site.folder / "operator.log").write_text("\n".join(site.operator.told))
            self._figures()
            report.broken = [*self._breaker.failed, *late, *self._dead]
            report.outcomes = judge.outcomes()
            self._events(judge)
            report.orphans = judge.orphans()
            report.misled = judge.misled(site.fleet.machines) + judge.inherited(site.fleet.ledger)
            judge.bytes(site.fleet.ledger)
            report.verified, report.wrong = site.fleet.ledger.verified, site.fleet.ledger.wrong
            report.calls, report.interleavings = interleavings(head.bmid.process.log for head in site.heads)
        finally:
            judge.close()

    def _events(self, judge: Judge) -> None:
        """What was said of the commands. Nodes that boot are told of meanwhile: what goes out now is left to itself."""
        report, heard = self.report, self._subscriber.events
        early = set(heard)
        gone, until = judge.events(), time.monotonic() + 60
        while gone - set(heard) and time.monotonic() < until:  # on their way to us, on a machine that is busy
            time.sleep(0.5)
        time.sleep(3)
        told = {one: event for one, event in list(heard.items()) if one in gone}
        report.events = len(told)
        report.lost, report.doubled = judge.commands(self._sent(), told)
        report.lost += [f"event {event} has reached nobody" for event in gone - set(told)] + judge.unfinished()
        report.doubled += [f"event {event} was told, and has no row" for event in early - gone - judge.events()]
        report.gaps = judge.gaps(told)
        looks = [event.data["findings"] for event in told.values() if event.type == SiteReconciled.type]
        report.looks, report.differed = len(looks), sum((Counter(one) for one in looks), Counter())

    def _hanging(self) -> list[str]:
        """Nodes that are led to a disk and get no write done, with nothing broken."""
        before = {machine.name: machine.writes for machine in self.site.fleet.machines}
        began = time.monotonic()
        left = self.site.fleet.machines
        while left and time.monotonic() - began < FRESH:
            time.sleep(1)
            left = [machine for machine in left if machine.led and machine.writes == before[machine.name]]
        return [f"node {machine.name} had no write done in {FRESH:g} s: {machine.troubles[-1:]}" for machine in left]

    def _wait_quiet(self, judge: Judge) -> list[str]:
        """Until all has ended and all is in its place, or the time is up: what is still to come then."""
        began = time.monotonic()
        said = 0.0
        left: list[str] = ["nobody has looked"]
        while left and time.monotonic() - began < PATIENCE:
            try:
                open_ = self._sent() - self._ended
                left = [f"{len(open_)} commands without an end"] if open_ else judge.unfinished()
                left = left or judge.unpublished() or judge.orphans()
            except BmiError as error:
                left = [str(error)]
            if left and time.monotonic() - said > 10:
                said = time.monotonic()
                self._tell(f"{said - began:6.1f} s  not quiet yet: {len(left)}, such as: {left[0]}")
            time.sleep(1 if left else 0)
        self.report.quiet = time.monotonic() - began
        return [f"not quiet after {PATIENCE:g} s: {one}" for one in left]

    def _figures(self) -> None:
        report, site, breaker = self.report, self.site, self._breaker
        report.commands = len(self._sent())
        report.duplicates = sum(publisher.duplicates for publisher in self._publishers)
        report.faults = breaker.count
        report.restarts = sum(head.ended for head in site.heads)
        report.moves = site.moves
        report.ways = sum(len(machine.sightings.all) for machine in site.fleet.machines)
        report.acknowledged = site.fleet.ledger.acknowledged
        report.stall = max((machine.longest_stall for machine in site.fleet.machines), default=0.0)
        report.recovery = self._recovery()

    def _recovery(self) -> tuple[float, str]:
        """The longest time that a command was under way with nothing broken, and what had been broken last before."""
        sent = {one: at for publisher in self._publishers for one, (at, _) in publisher.sent.items()}
        longest = (0.0, "no fault")
        harm = [one for one in self._breaker.ended if one[2].kind not in CARE]  # what operators do breaks nothing
        for one, end in self._first_end.items():
            begun = [(until, fault) for since, until, fault in harm if since <= end]
            until, fault = max(begun, key=lambda each: each[0], default=(end, None))
            waited = end - max(until, sent.get(one, end))
            if fault and waited > longest[0]:
                longest = (waited, f"{fault.kind} {fault.part} at {fault.begin:.0f} s")
        return longest

    def _stop(self) -> None:
        for publisher in self._publishers:
            publisher.stop()
        self._breaker.stop()
        self._subscriber.stop()
        self.site.stop()
