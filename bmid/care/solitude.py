"""Whether this head alone has lost the database: then another one is about to take its addresses over, and it gives
them back before its disks are fenced. Where the database is away for all, everybody keeps what he has.

Written by whoever asks which head has which address, also while bmid itself is down; read when there is no answer.
"""

from __future__ import annotations

import json
import os
import time
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError

__all__ = ["Solitude", "has_database"]

TIMEOUT = 2.0  # seconds for a neighbour's answer
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class _Last:
    """What was known when the database last answered: when that was, in seconds since the machine's start, where this
    head's own bmid and those of the others say how they are, and whether this one was stopped in order."""

    at: float
    own: str
    others: tuple[str, ...]
    stopped: bool


def has_database(url: str) -> bool:
    """Whether the bmid there says that the database answers it."""
    try:
        with OPENER.open(f"{url}/readyz", timeout=TIMEOUT) as answer:
            told = answer.read(65536)
    except HTTPError as error:  # some part is not well: which one, it says
        told = error.read(65536)
    except (OSError, HTTPException, ValueError):
        return False
    try:
        return bool(json.loads(told)["database"] == "ok")
    except (ValueError, KeyError, TypeError):
        return False


class Solitude:
    """Kept in `folder`. `patience` are the seconds without the database after which others are asked."""

    def __init__(
        self,
        folder: Path,
        patience: float,
        clock: Callable[[], float] = time.monotonic,
        ask: Callable[[str], bool] = has_database,
    ) -> None:
        self._path = folder / "neighbours.json"
        self._patience = patience
        self._clock = clock
        self._ask = ask

    def note(self, own: str, others: Sequence[str], *, stopped: bool) -> None:
        """The database answers. A folder that is full, or another's, is no reason to give no answer."""
        fresh, last = _Last(self._clock(), own, tuple(sorted(others)), stopped), self._last()
        same = last is not None and (last.own, last.others, last.stopped) == (own, fresh.others, stopped)
        if same and last and 0 <= fresh.at - last.at < self._patience / 8:
            return
        new = self._path.with_suffix(f".{os.getpid()}")
        try:
            new.write_text(json.dumps(asdict(fresh)))
            new.replace(self._path)
        except OSError:
            return

    def alone(self) -> bool:
        """Whether others have the database that this head has not had for a while. Not where nobody says so, nor where
        this head's own bmid has it, nor for one that was stopped in order, which nobody takes over from."""
        last = self._last()
        if last is None or last.stopped or not last.at + self._patience <= self._clock():
            return False
        others = [url for url in last.others if url != last.own]
        with ThreadPoolExecutor(1 + len(others)) as pool:
            mine, *theirs = pool.map(self._ask, [last.own, *others])
        return not mine and any(theirs)

    def _last(self) -> _Last | None:
        try:
            told = json.loads(self._path.read_text())
            return _Last(float(told["at"]), str(told["own"]), tuple(told["others"]), bool(told["stopped"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None
