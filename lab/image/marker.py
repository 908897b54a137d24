"""The line by which the lab's images say on the console that they are up, and from which disk."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Marker:
    """What such a line says; `kind` is TINY or DEBIAN, the rest is told in lab/image/tiny.py."""

    kind: str
    host: str
    root: str
    seen: str
    found: str
    wrote: str


def read_marker(text: str) -> Marker | None:
    """The last marker in what a console showed, or None."""
    pattern = r"BMI-([A-Z]+) host=(\S*) root=(\S*) seen=(\S*) found=(\S*) wrote=(\S+)\r?\n"
    every = re.findall(pattern, text)
    return Marker(*every[-1]) if every else None
