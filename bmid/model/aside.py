"""What is set aside: nodes and images that nothing new is put on, by an operator, or since too much failed in a row.

Which failures speak against a thing is decided here; how they are counted is the store's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

__all__ = ["Aside", "AsideState", "Blamed", "blamed", "touched"]


class AsideState(StrEnum):
    """Who set it aside. maintenance: an operator. quarantine: bmid, after too many failures."""

    MAINTENANCE = "maintenance"
    QUARANTINE = "quarantine"


@dataclass(frozen=True)
class Aside:
    """Why something is set aside. `since` is RFC 3339; `operation` the one that set it aside, or that failed last;
    `problem` the slug that all of the failures had, `failures` how many."""

    state: AsideState
    reason: str
    since: str
    operation: str
    problem: str | None = None
    failures: int | None = None

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Self:
        """As it was stored."""
        return cls(**{**stored, "state": AsideState(stored["state"])})


@dataclass(frozen=True)
class Blamed:
    """The one thing that a failure speaks against: a node by its name, or else a golden image by its id."""

    node: str | None = None
    image: str | None = None


# Steps that read a golden image, and the field that has its id.
READS = {"clone-disk": "image", "copy-stored": "source", "write-file": "image"}
# What they fail with where the image is to blame. All else may be the place that it is copied to, or the storage.
UNREADABLE = frozenset({"image-missing", "storage-missing", "image-damaged"})
# Steps that a node's own BMC carries out. All others work on disks, targets and files: a disk that is broken fails on
# every node that it is put on, and a node is anybody's who may have it.
SWITCHES = frozenset({"boot-from-network", "cycle-power", "power-on", "power-off"})
# What such a step fails with though the BMC is not to blame: our own mistakes, and what an operator has to set.
OURS = frozenset({"abandoned", "credential-missing", "database-away", "power-driver-unknown", "unexpected"})


def blamed(command: Mapping[str, Any], plan: Mapping[str, Any] | None, step: str | None, slug: str) -> Blamed | None:
    """Whom the failure of a step of an operation speaks against; None where it is neither node nor image."""
    steps = [one for stage in (plan or {}).get("stages", ()) for one in stage if one["kind"] == step]
    if steps and step in READS and slug in UNREADABLE:
        return Blamed(image=steps[0][READS[step]])
    if steps and step in SWITCHES and slug not in OURS and command.get("node"):
        return Blamed(node=command["node"])
    return None


def touched(command: Mapping[str, Any], plan: Mapping[str, Any] | None) -> list[Blamed]:
    """All that the success of an operation speaks for: what could have been blamed for its failure."""
    steps = [one for stage in (plan or {}).get("stages", ()) for one in stage]
    images = {one[READS[one["kind"]]] for one in steps if one["kind"] in READS}
    switched = command.get("node") and any(one["kind"] in SWITCHES for one in steps)
    return [*([Blamed(node=command["node"])] if switched else []), *(Blamed(image=one) for one in sorted(images))]
