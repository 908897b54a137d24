"""Processes as the kernel shows them in /proc: who runs, since when, in which session.

No process is started here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Stat(NamedTuple):
    """A process at one moment; with its start time a pid names one process for ever."""

    pid: int
    started: int  # ticks since boot
    parent: int
    session: int
    ended: bool


def every() -> Iterator[Stat]:
    """All processes of this machine."""
    found = (stat(int(entry)) for entry in os.listdir("/proc") if entry.isdigit())
    return (one for one in found if one)


def stat(pid: int) -> Stat | None:
    """What the process looks like now; None if there is none."""
    try:
        return parse(Path(f"/proc/{pid}/stat").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return None


def parse(line: str) -> Stat:
    """What a line of /proc/PID/stat says. Raises ValueError or IndexError if it is none."""
    pid, rest = line.split(" (", 1)
    fields = rest.rpartition(") ")[2].split()
    # A zombie that still counts other threads is about to let go of its files and locks, but hasn't yet.
    ended = fields[0] in "ZX" and int(fields[17]) <= 1
    return Stat(int(pid), int(fields[19]), int(fields[1]), int(fields[3]), ended)


def reaped(pid: int) -> bool:
    """Whether it was a child of ours that has ended: it is taken out of the process table then."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return False


def ended(child: int) -> bool:
    """Whether a child of ours is gone, reaped by us or by somebody else."""
    return reaped(child) or stat(child) is None


def send(pid: int, number: int) -> bool:
    """Send a signal; False if there is no such process."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
