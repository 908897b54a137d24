"""A target daemon that dies forgets all; bmid puts everything back, and systems that run from it go on."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import ExitStack
from typing import Any

import pytest

from bmid.handlers.unmap_node import UnmapNode
from tests.support.bmid import Builder, House
from tests.support.initiator import Initiator

TARGETS = 20


class Running:
    """A system that has its disk open: one initiator, whose session lives as long as it does."""

    def __init__(self, initiator: Initiator, pattern: int) -> None:
        self._pattern = pattern
        self._process = subprocess.Popen(
            ["qemu-io", "-f", "raw", initiator.url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
        )

    def do(self, words: str, answer: str) -> None:
        """Give it a command, and read on until the answer comes."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(words + "\n")
        self._process.stdin.flush()
        said = []
        while answer not in (said or [""])[-1]:
            line = self._process.stdout.readline()
            assert line, said
            assert "error" not in line.lower(), line
            assert "fail" not in line.lower(), line
            said.append(line)

    def write(self) -> None:
        """Fill a piece of the disk."""
        self.do(f"write -P {self._pattern} 1M 64k", "wrote 65536/65536")

    def read(self) -> None:
        """Find the piece as it was written, and write on."""
        self.do(f"read -P {self._pattern} 1M 64k", "read 65536/65536")
        self.do(f"write -P {self._pattern} 2M 64k", "wrote 65536/65536")

    def end(self) -> None:
        self._process.kill()
        self._process.wait(10)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def mapped(house: House, count: int) -> tuple[str, list[dict[str, Any]]]:
    project = house.project()
    image = house.image(project)
    return project, [house.mapped(project, image) for _ in range(count)]


@pytest.mark.parametrize("on_ceph", [False, True], ids=["folder", "ceph"])
def test_all_targets_come_back_and_running_systems_go_on(
    builder: Builder, on_ceph: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    house = builder.house(ceph=on_ceph, postgresql=on_ceph)
    project, events = mapped(house, TARGETS)
    with ExitStack() as stack:
        running = []
        for number, event in enumerate(events[:3], start=1):
            one = Running(stack.enter_context(house.initiator(event)), number)
            stack.callback(one.end)
            one.write()
            running.append(one)
        before = {export.iqn: export.addresses for export in house.ports.target.exports("s0")}
        house.tgtd.kill()
        house.tgtd.start()
        began = time.monotonic()

        def back() -> bool:
            return {one.iqn: one.addresses for one in house.ports.target.exports("s0") if one.open} == before

        house.until(back, 60)
        took = time.monotonic() - began
        for one in running:
            one.read()
        went_on = time.monotonic() - began
    with house.initiator(events[-1]) as other:
        assert other.enters()
    with house.initiator(events[-1], address=events[0]["address"]) as stranger:
        assert not stranger.enters()
    disks = house.disks()
    assert len(disks) == TARGETS
    if on_ceph:
        assert {disk.owner for disk in disks} == {house.ports.storage.owner(disk.id) for disk in disks}
    for event in events:
        house.did(UnmapNode(project=project, node=event["node"], force=True))
    assert not house.ports.target.exports("s0")
    with capsys.disabled():
        sys.stdout.write(f"\n{TARGETS} targets back after {took:.1f} s, running systems after {went_on:.1f} s\n")


def test_a_node_is_unmapped_although_its_target_daemon_has_just_died(builder: Builder) -> None:
    house = builder.house(ceph=True, postgresql=False)
    project, [event] = mapped(house, 1)
    house.tgtd.kill()
    ticket = house.ticket(UnmapNode(project=project, node=event["node"], force=True))
    house.client().publish(ticket)
    time.sleep(0.5)
    house.tgtd.start()
    assert house.client().wait(ticket, 90).ok
    assert not house.ports.target.exports("s0")
    assert not house.disks()
