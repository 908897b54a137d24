"""Ranges of names: n[1-40], n[01-10,15], r[1-2]n[1-4]. Nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain

__all__ = ["expand", "is_span"]

BRACKETS = re.compile(r"^([^\[\]]*)\[([^\[\]]*)\](.*)$")
PART = re.compile(r"^(\d+)(?:-(\d+))?$", re.ASCII)
MOST = 10_000


def is_span(text: str) -> bool:
    """Whether it is written as a range, also one of a single name."""
    return "[" in text or "]" in text


def expand(text: str) -> list[str]:
    """All names of a range, each once, in the order written; a name alone is itself. The first number's zeros are
    kept as width. ValueError says what is wrong."""
    if not is_span(text):
        return [text]
    found = BRACKETS.match(text)
    if not found:
        raise ValueError(f"{text}: a range is written like n[1-40] or n[01-10,15]")
    before, inside, after = found.groups()
    numbers = list(chain.from_iterable(_numbers(part, text) for part in inside.split(",")))
    names = dict.fromkeys(f"{before}{number}{rest}" for number in numbers for rest in expand(after))
    if len(names) > MOST:
        raise ValueError(f"{text}: more than {MOST} names")
    return list(names)


def _numbers(part: str, text: str) -> Iterator[str]:
    found = PART.match(part.strip())
    if not found:
        raise ValueError(f"{text}: {part!r} is neither a number nor a range like 1-40")
    first, last = found[1], found[2] or found[1]
    if int(last) < int(first) or int(last) - int(first) >= MOST:
        raise ValueError(f"{text}: {part} counts backwards, or has more than {MOST} names")
    width = len(first) if first.startswith("0") else 0
    return (str(number).zfill(width) for number in range(int(first), int(last) + 1))
