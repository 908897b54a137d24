"""Calls that run side by side, all of which are to be done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from lab.process import LabError

__all__ = ["side_by_side"]


def side_by_side(parts: Mapping[str, Callable[[], object]], tell: Callable[[str], None] = lambda _: None) -> None:
    """Call all, and `tell` of each that is done. LabError with each one's own words if any fails, after the last."""
    failed: list[str] = []

    def call(name: str, function: Callable[[], object]) -> None:
        try:
            function()
        except Exception as error:
            failed.append(f"{name}: {error}")
        else:
            tell(name)

    with ThreadPoolExecutor(max(len(parts), 1)) as pool:
        list(pool.map(call, parts.keys(), parts.values()))
    if failed:
        raise LabError("\n".join(failed))
