"""The digest of an image file: what runs in the child, `python -m bmid.drivers.imaging.digest`, while it is copied.

Takes the file, what was found by looking at it, and the digest that was promised, as JSON. Imports little, so that it
starts quickly. The parent's side is in qemu.py.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bmid.drivers.imaging.report import tell
from bmid.drivers.imaging.unpack import Incoming
from bmid.drivers.imaging.verdict import Found, unreadable

__all__ = ["digest"]


def digest(file: Path, found: Found, promised: str | None, report: Callable[[int, int], None]) -> Found:
    """What was found, with the SHA-256 of the file's bytes. Raises Unfit: it can't be read, or isn't what was promised.

    `report` is told bytes done and total.
    """
    try:
        with file.open("rb") as source:
            incoming = Incoming(source, lambda done: report(done, found.size))
            return replace(found, sha256=incoming.sha256(promised))
    except OSError as error:
        raise unreadable(error) from error


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    tell(lambda report: digest(Path(given["file"]), Found(**given["found"]), given["promised"], report))
