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
READS = {"clone-disk": "image", "copy-stored": "source", "write-file": "image", "write-foreign": "image"}
# What would have failed with any node and any image: parts of the site that are away, full or not reached.
SITE = frozenset({
    "boot-folder", "boot-server-down", "clone-unsupported", "database-away", "heads-draining", "no-home", "pool-full",
    "shard-unknown", "storage-denied", "storage-down", "storage-error", "storage-fenced", "target-busy", "target-down",
    "target-garbled", "target-portal", "target-timeout", "unexpected",
})  # fmt: skip
# What the sender or an operator asked for wrongly, or thought better of.
SENDER = frozenset({
    "abandoned", "credential-missing", "expired", "export-exists", "exports-disabled", "exports-failed",
    "pool-forbidden", "pool-unknown", "pools-unsupported", "power-driver-unknown",
})  # fmt: skip


def blamed(command: Mapping[str, Any], plan: Mapping[str, Any] | None, step: str | None, slug: str) -> Blamed | None:
    """Whom the failure of a step of an operation speaks against; None where it is neither node nor image."""
    steps = [one for stage in (plan or {}).get("stages", ()) for one in stage if one["kind"] == step]
    if not steps or slug in SITE or slug in SENDER:
        return None
    if step in READS:
        return Blamed(image=steps[0][READS[step]])
    return Blamed(node=command["node"]) if command.get("node") else None


def touched(command: Mapping[str, Any], plan: Mapping[str, Any] | None) -> list[Blamed]:
    """All that the success of an operation speaks for."""
    steps = [one for stage in (plan or {}).get("stages", ()) for one in stage]
    images = {one[READS[one["kind"]]] for one in steps if one["kind"] in READS}
    node = [Blamed(node=command["node"])] if steps and command.get("node") else []
    return [*node, *(Blamed(image=one) for one in sorted(images))]
