"""Driver calls of all heads, as their logs tell of them: no two heads acted on one key at a time. It only looks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

__all__ = ["interleavings"]


def interleavings(logs: Iterable[Path]) -> tuple[int, list[str]]:
    """Driver calls under an epoch that had passed on by then, or that another head had, too; first, how many calls were
    looked at."""
    count, found = 0, []
    latest: dict[str, tuple[int, str]] = {}
    for moment, head, held in sorted(_calls(logs), key=lambda call: call[0]):
        count += 1
        for key, epoch in held.items():
            before, by = latest.get(key, (0, head))
            if epoch < before or (epoch == before and head != by):
                found.append(f"{moment} {head} called under epoch {epoch} of {key}, {by} under {before} before")
            else:
                latest[key] = (epoch, head)
    return count, found


def _calls(logs: Iterable[Path]) -> Iterator[tuple[str, str, dict[str, int]]]:
    for log in logs:
        with log.open(errors="replace") as lines:
            for line in lines:
                if '"driver.called"' not in line:
                    continue
                try:
                    said: dict[str, Any] = json.loads(line)
                except ValueError:
                    continue  # whoever is killed while it writes leaves half a line
                yield said["timestamp"], log.parent.parent.name, said["held"]
