"""Waiting for what comes after an outcome: a node that was mapped boots, or doesn't."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bmi_publish.result import State

__all__ = ["BOOTED", "Until"]


@dataclass(frozen=True)
class Until:
    """Later events about the same subject, each with the state that it means; and the query that tells the same when
    they were missed: `field` of the command and of the query, and the stages of a boot."""

    events: Mapping[str, State]
    query: str
    field: str
    stages: Mapping[str, State]


BOOTED = Until(
    events={"bmi.node.booted.v1": State.DONE, "bmi.node.boot-failed.v1": State.FAILED},
    query="bmi.node.show.v1",
    field="node",
    stages={"booted": State.DONE, "failed": State.FAILED},
)
