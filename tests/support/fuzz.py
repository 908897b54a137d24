"""Bad bytes: mutations of real ones by a seed, a count of what the log says, and how much memory this process has.

What must come of bad bytes is the tests' business.
"""

from __future__ import annotations

import gc
import os
import random
from collections import Counter
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any

import structlog

__all__ = ["MIB", "Flat", "counted_log", "mutated", "seeded", "strange"]

MIB = 1 << 20
ODD = (
    b"\x00",
    b"\xff",
    b"\x80",
    b"\xc3\x28",
    b"\n",
    b"\r\n\r\n",
    b'"',
    b"\\u0000",
    b"{",
    b"]",
    b"-1",
    b"1e999",
    b"9" * 40,
)
ODD += (
    "\u202e".encode(),
    b"\xed\xa0\x80",
    b"\x7f" * 300,
    b"null",
    b"NaN",
    b"\\ud800",
    b"%00",
    b"../",
    b"'; DROP",
    b"${x}",
)


def seeded(seed: int) -> random.Random:
    """The same accidents each time."""
    return random.Random(seed)  # noqa: S311


def mutated(chance: random.Random, content: bytes, foreign: bytes = b"") -> bytes:
    """The same with one to four accidents: bits and bytes changed, odd ones put in, parts lost, repeated, swapped."""
    bytes_ = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(bytes_) + 1)
        size = chance.choice((1, 1, 2, 4, 8, 64))
        match chance.randrange(7):
            case 0 if bytes_:
                bytes_[at % len(bytes_)] ^= 1 << chance.randrange(8)
            case 1:
                bytes_[at : at + size] = chance.randbytes(size)
            case 2:
                bytes_[at:at] = chance.choice(ODD)
            case 3:
                del bytes_[at : at + size]
            case 4:
                bytes_[at:at] = bytes_[at : at + size * 8] * chance.randint(1, 3)
            case 5:
                del bytes_[at:]
            case _:
                start = chance.randrange(len(foreign) + 1)
                bytes_[at : at + size] = foreign[start : start + size * 4]
    return bytes(bytes_)


def strange(chance: random.Random, depth: int = 0) -> Any:
    """A value of any kind that JSON and AMQP's tables know."""
    simple: Sequence[Any] = (
        None, True, False, 0, -1, 2**31, 2**63 - 1, -(2**63), 1.5, "", "x", "\0", "\ud7ff", "a" * 300, "node/../n1",
        "2026-13-45T99:99:99Z", "9" * 400, "\u202etxt", [], {}, "p1", "n1", "debian", "*", "\n", "0x10", " n1 ",
    )  # fmt: skip
    if depth > 2 or chance.random() < 0.7:
        return chance.choice(simple)
    if chance.random() < 0.5:
        return [strange(chance, depth + 1) for _ in range(chance.randint(0, 4))]
    return {str(chance.choice(("a", "", "\0", "node", "id", "x" * 80))): strange(chance, depth + 1) for _ in range(3)}


@contextmanager
def counted_log() -> Iterator[Counter[str]]:
    """How often each word was logged meanwhile. Nothing is written, and nothing kept."""
    words: Counter[str] = Counter()

    def note(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        words[str(event["event"])] += 1
        raise structlog.DropEvent

    structlog.configure(processors=[note])
    try:
        yield words
    finally:
        structlog.reset_defaults()


class Flat:
    """Memory that must not grow: what this process has beyond what it had at the last `begin`."""

    def begin(self) -> None:
        """From here on it counts; call it when all is warm."""
        gc.collect()
        self._resident = self._now()

    def grown(self) -> int:
        """Bytes more than then."""
        gc.collect()
        return self._now() - self._resident

    @staticmethod
    def _now() -> int:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
