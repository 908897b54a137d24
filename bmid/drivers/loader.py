"""Finds backends by entry point, and guards their calls with the claim. Knows no backend by name."""

from __future__ import annotations

import difflib
import inspect
import threading
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar, cast

from bmid.errors import Misconfigured

__all__ = ["GuardedMapping", "OnDemand", "guarded", "load"]

PASSIVE = frozenset({"address", "backing", "client", "portal"})  # they say where something is, and touch nothing
P = TypeVar("P")


def find(kind: str, name: str) -> EntryPoint:
    """The entry point of the backend `name` of a kind (`storage`, `target`...). Misconfigured if there is none."""
    found = {point.name: point for point in entry_points(group=f"bmid.{kind}")}
    if name not in found:
        near = difflib.get_close_matches(name, found, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise Misconfigured(
            f"there is no {kind} driver {name!r}; there are {', '.join(sorted(found))}{hint}",
            todo="Name one of these in the settings, or install the package that brings it.",
        )
    return found[name]


def load(kind: str, name: str, options: Mapping[str, Any]) -> Any:
    """The backend, made with those of the options that its constructor takes."""
    made = find(kind, name).load()
    wanted = inspect.signature(made).parameters
    return made(**{key: value for key, value in options.items() if key in wanted})


class OnDemand(Mapping[str, Any]):
    """Several backends of a kind by name, each loaded when it is asked for first: a site has few of them in use."""

    def __init__(self, kind: str, names: tuple[str, ...], options: Mapping[str, Any]) -> None:
        self._kind = kind
        self._names = names
        self._options = options
        self._loaded: dict[str, Any] = {}
        self._lock = threading.Lock()
        for name in names:
            find(kind, name)

    def __getitem__(self, name: str) -> Any:
        if name not in self._names:
            raise KeyError(name)
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = load(self._kind, name, self._options)
            return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class GuardedMapping(Mapping[str, Any]):
    """Such a mapping, whose backends are guarded by the claim."""

    def __init__(self, ports: Mapping[str, Any], verify: Callable[[], None]) -> None:
        self._ports = ports
        self._verify = verify

    def __getitem__(self, name: str) -> Any:
        return guarded(self._ports[name], self._verify)

    def __contains__(self, name: object) -> bool:
        return name in self._ports

    def __iter__(self) -> Iterator[str]:
        return iter(self._ports)

    def __len__(self) -> int:
        return len(self._ports)


class _Guarded:
    """Stands before a port: every call of a method first makes sure of the claim."""

    def __init__(self, port: Any, verify: Callable[[], None]) -> None:
        self._port = port
        self._verify = verify

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._port, name)
        if name in PASSIVE or not callable(member):
            return member

        def call(*arguments: Any, **options: Any) -> Any:
            self._verify()
            return member(*arguments, **options)

        return call


def guarded(port: P, verify: Callable[[], None]) -> P:
    """The port, each of whose calls raises ClaimLost if `verify` does."""
    return cast(P, _Guarded(port, verify))
