"""Faults that the labels of a node ask for: which words there are, and what they do to a call of a port.

Only calls that an operation on that node makes are touched, and only on the way there: undoing always works, so that
no fault leaves an operation stuck.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bmid.errors import BmiError, PermanentError, Refused, TransientError

__all__ = ["FAIL", "FAULTS", "NEVER_BOOTS", "Fault", "Faults", "FaultyMapping", "FaultyPort", "faults_of", "seconds_of"]

FAIL = "sandbox.fail"
DELAY = "sandbox.delay"
NEVER_BOOTS = "boot-never"
TRANSIENT = "transient"
TRIES = 2  # calls that fail before a transient fault is over
AGAIN = 0.5  # seconds until such a call is made again
LONGEST_DELAY = 60.0  # seconds; a worker has nothing else to do meanwhile
# By word: the port as the steps know it, and those of its calls that fail.
FAULTS: Mapping[str, tuple[str, frozenset[str]]] = {
    "clone": ("storage", frozenset({"clone"})),
    "snapshot": ("storage", frozenset({"freeze"})),
    "discard": ("storage", frozenset({"discard"})),
    "export": ("target", frozenset({"create"})),
    "seed": ("seeds", frozenset({"write"})),
    "boot": ("boot", frozenset({"point"})),
    "power": ("power", frozenset({"request", "boot_from_network_once"})),
    "isolation": ("isolation", frozenset({"allows"})),
    NEVER_BOOTS: ("", frozenset()),
}


@dataclass(frozen=True)
class Fault:
    """One word of the label. Transient: over after some tries."""

    word: str
    transient: bool


def faults_of(node: str, labels: Mapping[str, str]) -> tuple[Fault, ...]:
    """What the label asks for, words separated by commas. PermanentError, with all words, for one that isn't known."""
    return tuple(_faults(node, labels.get(FAIL, "")))


def _faults(node: str, text: str) -> Iterator[Fault]:
    for part in filter(None, (part.strip() for part in text.split(","))):
        word, _, kind = part.partition(":")
        if word not in FAULTS or kind not in ("", TRANSIENT):
            known = ", ".join(FAULTS)
            detail = f"label {FAIL}={part} of node {node} is no fault; there are {known}, each also with :{TRANSIENT}"
            raise PermanentError("sandbox-label", detail, todo="Register the node with another label.")
        yield Fault(word, kind == TRANSIENT)


def seconds_of(node: str, labels: Mapping[str, str], label: str, default: float) -> float:
    """The seconds that a label says. PermanentError where they are none."""
    if label not in labels:
        return default
    try:
        seconds = float(labels[label])
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= LONGEST_DELAY:
        detail = f"label {label}={labels[label]} of node {node} is no number of seconds up to {LONGEST_DELAY:.0f}"
        raise PermanentError("sandbox-label", detail, todo="Register the node with another label.")
    return seconds


class Faults:
    """What faults have done so far, by operation."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._raised: Counter[tuple[str, str]] = Counter()
        self._delayed: set[str] = set()

    def before(self, operation: str, node: str, labels: Mapping[str, str], port: str, call: str) -> None:
        """Called before each call of a port: waits, raises, or does nothing."""
        faults = faults_of(node, labels)
        delay = seconds_of(node, labels, DELAY, 0.0)
        with self._lock:
            first = operation not in self._delayed
            self._delayed.add(operation)
        if delay and first:
            threading.Event().wait(delay)
        for fault in faults:
            where, calls = FAULTS[fault.word]
            if where == port and call in calls and self._fires(operation, fault):
                raise _error(node, fault)

    def _fires(self, operation: str, fault: Fault) -> bool:
        with self._lock:
            self._raised[operation, fault.word] += 1
            return not fault.transient or self._raised[operation, fault.word] <= TRIES


def _error(node: str, fault: Fault) -> BmiError:
    if fault.transient:
        return TransientError(
            "sandbox-fault",
            f"node {node} has the label {FAIL}={fault.word}:{TRANSIENT}",
            delay=AGAIN,
            todo="It is tried again, and goes well then: take the label off for none at all.",
        )
    if fault.word == "isolation":
        detail = f"node {node} is not allocated to the project: it has the label {FAIL}={fault.word}"
        return Refused("node-not-allocated", detail, todo="Have it allocated to the project first.")
    detail = f"node {node} has the label {FAIL}={fault.word}"
    return PermanentError("sandbox-fault", detail, todo="Register the node without that label.")


class FaultyPort:
    """A port, before each of whose calls `before` is called with the call's name."""

    def __init__(self, port: Any, before: Callable[[str], None]) -> None:
        self._port = port
        self._before = before

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._port, name)
        if not callable(member):
            return member

        def call(*arguments: Any, **options: Any) -> Any:
            self._before(name)
            return member(*arguments, **options)

        return call


class FaultyMapping(Mapping[str, Any]):
    """Ports by name, all with the same faults."""

    def __init__(self, ports: Mapping[str, Any], before: Callable[[str], None]) -> None:
        self._ports = ports
        self._before = before

    def __getitem__(self, name: str) -> Any:
        return FaultyPort(self._ports[name], self._before)

    def __iter__(self) -> Iterator[str]:
        return iter(self._ports)

    def __len__(self) -> int:
        return len(self._ports)
