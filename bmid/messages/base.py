"""Command, Event and Query: what every message of a kind has in common. No schema of a single message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bmid.model.moment import Moment
from bmid.model.name import NodeName

__all__ = ["Command", "Event", "Message", "NodeCommand", "Query"]


class Message(BaseModel):
    """Data of a CloudEvent. `type` is its CloudEvents type, whose last part is the major version."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    type: ClassVar[str]

    def subject(self) -> str:
        """What the message is about, `node/n1`; part of the key under which events are counted."""
        raise NotImplementedError(self.type)

    def payload(self) -> dict[str, Any]:
        """The data as JSON values, without what is unset."""
        return self.model_dump(mode="json", exclude_none=True)


class Command(Message):
    """Asks for something to be done. Unknown fields are refused, so that a typing error never does half."""

    dry_run: bool = Field(False, description="only say what would be done, as `bmi.operation.planned.v1`")
    expires_at: Moment | None = Field(
        None, description="fail instead of beginning after this time (RFC 3339); what has begun goes on"
    )

    def members(self) -> Sequence[Command]:
        """The commands that this one stands for; none, where it stands for itself."""
        return ()


def _without_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


class NodeCommand(Command):
    """A command to one node, or to a group of them: then one operation for each, under one correlation id."""

    node: NodeName = Field("", description="the node; or `nodes`", json_schema_extra=_without_default)
    nodes: Annotated[tuple[NodeName, ...], Field(min_length=1, max_length=1000)] | None = Field(
        None, description="a group of nodes, in place of `node`; some failing doesn't stop the others"
    )

    @model_validator(mode="after")
    def _node_or_nodes(self) -> Self:
        if bool(self.node) == (self.nodes is not None):
            raise ValueError("give exactly one of node and nodes")
        if self.nodes and len(set(self.nodes)) < len(self.nodes):
            raise ValueError("a node is named twice in nodes")
        return self

    def members(self) -> Sequence[Command]:
        """One for each node of a group."""
        return [self.model_copy(update={"node": node, "nodes": None}) for node in self.nodes or ()]

    def subject(self) -> str:
        """The node; a group is about itself."""
        return f"node/{self.node}" if self.node else "group"

    def payload(self) -> dict[str, Any]:
        """A group has no `node`."""
        data = super().payload()
        return data if self.node else {key: value for key, value in data.items() if key != "node"}


class Event(Message):
    """Says what happened. Read leniently: later versions may add fields."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Query(Message):
    """Asks what is; answered to `reply_to`, changes nothing."""

    def subject(self) -> str:
        """Queries are about nothing in particular."""
        return "-"
