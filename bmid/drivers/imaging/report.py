"""How a child of ours tells its parent how far it is and what it found, or what is wrong: lines of JSON.

The parent's side is in outcome.py. Imports little, so that the children start quickly.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from time import monotonic

from bmid.drivers.imaging.verdict import Found, Unfit

__all__ = ["tell"]

_EVERY = 0.2  # seconds between two words on progress


def tell(work: Callable[[Callable[[int, int], None]], Found]) -> None:
    """Do the work, which is given what takes bytes done and total, and print what comes of it."""
    last = 0.0

    def progress(done: int, total: int) -> None:
        nonlocal last
        if monotonic() - last > _EVERY:
            last = monotonic()
            _say(done=done, total=total)

    with suppress(KeyboardInterrupt):
        try:
            _say(found=asdict(work(progress)))
        except Unfit as error:
            _say(problem=[error.slug, error.detail, error.retry])


def _say(**line: object) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
