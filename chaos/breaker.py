"""Carries out the faults of a schedule, each at its time, and mends all in the end."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

from chaos.fault import Fault
from chaos.site import Head, Site
from lab.process import LabError

__all__ = ["Breaker"]

PATIENCE = 30  # seconds for an OSD that was frozen
SLOW = 0.15  # seconds for which a slow road keeps everything


class Breaker:
    """A thread for each part, so that what takes long to start again keeps no other fault waiting. `count` and `ended`
    tell what has happened so far."""

    def __init__(self, site: Site, faults: Sequence[Fault], tell: Callable[[str], None]) -> None:
        self.count: Counter[str] = Counter()
        self.ended: list[tuple[float, float, Fault]] = []  # begin and end by time.monotonic
        self.now: set[str] = set()
        self.failed: list[str] = []
        self._site = site
        self._tell = tell
        self._stop = threading.Event()
        self._began = 0.0
        parts = sorted({fault.part for fault in faults})
        self._threads = [
            threading.Thread(target=self._run, args=([one for one in faults if one.part == part],), daemon=True)
            for part in parts
        ]

    def start(self) -> None:
        """Begin the run."""
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Until the last fault has ended."""
        for thread in self._threads:
            thread.join()

    def stop(self) -> None:
        """No more of it; what is broken is mended."""
        self._stop.set()
        for thread in self._threads:
            if thread.ident:
                thread.join()

    def _run(self, faults: Sequence[Fault]) -> None:
        for fault in faults:
            if self._stop.wait(max(0.0, self._began + fault.begin - time.monotonic())):
                return
            self._tell(f"{fault.begin:6.1f} s  {fault.kind} {fault.part} for {fault.end - fault.begin:.1f} s")
            begin = time.monotonic()
            try:
                self._harm(fault)
                self._stop.wait(max(0.0, self._began + fault.end - time.monotonic()))
                self._hand(fault)[1]()
                self.now.discard(fault.part)
                self.ended.append((begin, time.monotonic(), fault))
            except Exception as error:  # whatever it is: a run that breaks less than it says is no run
                self.failed.append(f"{fault.kind} {fault.part} went wrong, and it was left to itself: {error!r}")
                return

    def _harm(self, fault: Fault) -> None:
        self.now.add(fault.part)
        self.count[fault.name] += 1
        self._hand(fault)[0]()

    def _hand(self, fault: Fault) -> tuple[Callable[[], None], Callable[[], None]]:
        """What harms, and what mends."""
        site = self._site
        sort, _, which = fault.part.partition("-")
        if sort == "portal":
            operator, head_name = site.operator, f"head-{which}"
            if fault.kind == "move":
                return (lambda: operator.move(head_name)), (lambda: operator.move(head_name))
            return (lambda: operator.drain(head_name)), (lambda: operator.undrain(head_name))
        if sort == "road":
            road = site.to[which]
            harm = {"cut": road.cut, "hold": road.hold, "slow": lambda: road.slow(SLOW)}
            return harm[fault.kind], road.mend
        if sort in ("head", "tgtd", "machine"):
            head = next(head for head in site.heads if head.name == f"head-{which}")
            return self._of_head(fault, head, daemon=sort != "tgtd", target=sort != "head")
        hands: dict[tuple[str, str], tuple[Callable[[], None], Callable[[], None]]] = {
            ("broker", "kill"): (site.rabbitmq.kill, site.rabbitmq.start),
            ("broker", "freeze"): (site.rabbitmq.pause, site.rabbitmq.resume),
            ("database", "kill"): (site.postgresql.kill, site.postgresql.restart),
            ("database", "freeze"): (site.postgresql.freeze, site.postgresql.thaw),
            ("osd", "kill"): (site.ceph.kill_osd, site.ceph.start_osd),
            ("osd", "freeze"): (site.ceph.freeze, self._thaw_osd),
        }
        return hands[sort, fault.kind]

    def _thaw_osd(self) -> None:
        """An OSD that stood still for longer than its lease to read may never answer again. Then it is started anew, as
        an operator would: Ceph's own recovery is not what is judged."""
        self._site.ceph.thaw()
        try:
            self._site.ceph.wait_usable(deadline=PATIENCE)
        except LabError:
            self._tell("         osd doesn't answer after its freeze, and is started anew")
            self.count["osd stuck"] += 1
            self._site.ceph.restart_osd()

    def _of_head(
        self, fault: Fault, head: Head, *, daemon: bool, target: bool
    ) -> tuple[Callable[[], None], Callable[[], None]]:
        parts = [*([head.bmid.process] if daemon else []), *([head.tgtd.process] if target else [])]

        def harm() -> None:
            if fault.kind == "freeze":
                for part in parts:
                    part.freeze()
                return
            head.wanted, head.tgtd_wanted = head.wanted and not daemon, head.tgtd_wanted and not target
            for part in parts:
                part.kill()

        def mend() -> None:
            if fault.kind == "freeze":
                for part in parts:
                    part.thaw()
                return
            if target:
                head.tgtd.start()
            if daemon:
                head.bmid.process.start()
            head.wanted, head.tgtd_wanted = head.wanted or daemon, head.tgtd_wanted or target

        return harm, mend
