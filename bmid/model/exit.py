"""The exit codes of both commands, `bmid` and `bmi-publish`: those of sysexits.h where it has one. A code never changes
its meaning; docs/operations.md has them in a table.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Exit"]


class Exit(IntEnum):
    """What a command ends with, and what whoever started it may do then."""

    DONE = 0  # as asked
    FAILED = 1  # tried and undone; or looked, and not all is well
    USAGE = 2  # wrong words, as click says
    REFUSED = 65  # EX_DATAERR: nothing was done, and it would be the same again
    UNAVAILABLE = 69  # EX_UNAVAILABLE: a part doesn't answer; the same words may work later
    BROKEN = 70  # EX_SOFTWARE: a mistake of ours, which is told with its traceback
    RUNNING = 75  # EX_TEMPFAIL: it goes on by itself
    FORBIDDEN = 77  # EX_NOPERM: not for this user
    MISCONFIGURED = 78  # EX_CONFIG: the settings, or the machine
    INTERRUPTED = 130  # by Ctrl-C, as shells say
