"""Finds backends by entry point, and guards their calls with the claim. Knows no backend by name."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any, TypeVar, cast

from bmid.errors import Misconfigured

__all__ = ["guarded", "load"]

P = TypeVar("P")


def load(kind: str, name: str, options: Mapping[str, Any]) -> Any:
    """The backend `name` of a kind (`storage`, `target`...), made with the options that its constructor takes."""
    found = {point.name: point for point in entry_points(group=f"bmid.{kind}")}
    if name not in found:
        near = difflib.get_close_matches(name, found, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise Misconfigured(f"there is no {kind} driver {name!r}; there are {', '.join(sorted(found))}{hint}")
    made = found[name].load()
    wanted = inspect.signature(made).parameters
    return made(**{key: value for key, value in options.items() if key in wanted})


class _Guarded:
    """Stands before a port: every call of a method first makes sure of the claim."""

    def __init__(self, port: Any, verify: Callable[[], None]) -> None:
        self._port = port
        self._verify = verify

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._port, name)
        if not callable(member):
            return member

        def call(*arguments: Any, **options: Any) -> Any:
            self._verify()
            return member(*arguments, **options)

        return call


def guarded(port: P, verify: Callable[[], None]) -> P:
    """The port, each of whose calls raises ClaimLost if `verify` does."""
    return cast(P, _Guarded(port, verify))
