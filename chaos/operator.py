"""What an operator does while things break: heads are drained and filled again, addresses moved, by the command line.

A command that finds its database away is typed again; what its exit codes mean is known here, and nothing is judged.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from lab.process import LabError

__all__ = ["Operator"]

DONE, LEFT, UNAVAILABLE = 0, 1, 69  # of `bmid head`: done; done, and something is left there still; see its words
REFUSED = ("there is no living head", "there is no portal at", "has no shard")
PATIENCE = 25.0  # seconds for one command
TRIES = 12


class Operator:
    """`configs` are the heads' settings by name, `addresses` what each has brought in. `told` keeps every command with
    its exit code."""

    def __init__(self, configs: dict[str, Path], addresses: dict[str, str]) -> None:
        self.told: list[str] = []
        self._configs = configs
        self._addresses = addresses
        self._next = itertools.cycle(sorted(configs))
        self._ended = threading.Event()

    def drain(self, head: str) -> None:
        """Everything is to leave it; nobody waits for that."""
        self._type("drain", head)

    def undrain(self, head: str) -> None:
        """It is a head like any other again."""
        self._type("undrain", head)

    def move(self, head: str) -> None:
        """The address that a head has brought in goes to the next one in turn, which may have it already or be dead."""
        self._type("move", self._addresses[head], "--to", next(self._next))

    def stop(self) -> None:
        """No more tries."""
        self._ended.set()

    def _type(self, *words: str) -> None:
        """Until it has been done, or refused. LabError after too many tries."""
        said = "it was not tried"
        for attempt in range(TRIES):
            # Any head's settings will do, also those of one that is dead.
            config = list(self._configs.values())[attempt % len(self._configs)]
            code, said = self._once(config, ("head", *words))
            self.told.append(f"bmid head {' '.join(words)}: {code} {said}")
            if "Traceback" in said:
                raise LabError(f"bmid head {' '.join(words)} broke down: {said}")
            refused = code == UNAVAILABLE and any(one in said for one in REFUSED)
            if code == DONE or (code == LEFT and words[0] == "drain") or refused or self._ended.wait(2):
                return
        raise LabError(f"bmid head {' '.join(words)} was not done in {TRIES} tries: {said}")

    def _once(self, config: Path, words: Sequence[str]) -> tuple[int | None, str]:
        command = [str(Path(sys.executable).parent / "bmid"), "--config", str(config), *words]
        try:
            done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            return None, f"no answer within {PATIENCE:g} s"
        return done.returncode, f"{done.stdout}{done.stderr}".strip()
