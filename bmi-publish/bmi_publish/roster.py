"""What is known of all nodes: asked for once, and again for each node that an event is about. Nothing is drawn here."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from bmi_publish.error import QueryFailed
from bmi_publish.paging import LARGEST
from bmid.handlers.list_nodes import ListNodes
from bmid.handlers.show_node import ShowNode
from bmid.messages.base import Query
from bmid.messages.envelope import Envelope
from bmid.messages.operation import OperationAccepted

__all__ = ["COLUMNS", "Roster"]

COLUMNS = ("node", "state", "project", "image", "disk", "address", "boot")
GONE = "removed"
SETTLE = 0.2  # seconds: one operation says several things at once
STARTED = 1.0  # seconds after which an accepted operation has probably begun
AGAIN = 30.0  # seconds after which all are asked for again: not everything is an event
MANY = 32  # questions at a time, before what they brought is shown
ANSWER = 5.0  # seconds for an answer, well below the heartbeat of the connection that waits meanwhile
KEPT = 10_000  # operations whose node is remembered
Row = dict[str, Any]


class Asker(Protocol):
    """Who asks; a Client does."""

    def query(self, query: Query, timeout: float, /) -> dict[str, Any]: ...
    def rows(self, query: Query, timeout: float, /) -> Iterator[dict[str, Any]]: ...


class Roster:
    """The nodes (of one project, if it is given) by name in `rows`, the one that changed last at the end."""

    def __init__(self, asker: Asker, project: str | None = None) -> None:
        self.rows: dict[str, Row] = {}
        self._asker = asker
        self._project = project
        self._due: dict[str, float] = {}
        self._all_due = 0.0
        self._operations: dict[str, str] = {}
        self._changes: list[Row] = []

    def missed(self) -> None:
        """Events may have been missed: ask for all."""
        self._all_due = 0.0

    def hear(self, event: Envelope) -> None:
        """Remember which node an event is about."""
        operation = str(event.data.get("operation"))
        named = _node(event.data.get("about")) or _node(event.subject) or event.data.get("node")
        node = named or self._operations.get(operation)
        if not isinstance(node, str):
            return
        if event.type == OperationAccepted.type:
            self._operations[operation] = node
            if len(self._operations) > KEPT:
                del self._operations[next(iter(self._operations))]
        wait = STARTED if event.type == OperationAccepted.type else SETTLE
        due = time.monotonic() + wait
        self._due[node] = min(due, self._due.get(node, due))

    def wait(self) -> float:
        """Seconds until there is something to ask."""
        return max(0.0, min([self._all_due, *self._due.values()]) - time.monotonic())

    def refresh(self) -> list[Row]:
        """Ask for what is due; the rows that have changed since the last answer. Raises PublishError where nobody
        answers; what was due then stays due."""
        now = time.monotonic()
        if now >= self._all_due:
            self._list(now)
        for node in [node for node, moment in self._due.items() if moment <= now][:MANY]:
            self._put(node, self._ask(node))
            del self._due[node]
        changes, self._changes = self._changes, []
        return changes

    def _list(self, now: float) -> None:
        """Ask for all; and then one by one for those with a disk, because a list says nothing of boots."""
        found = {str(row["node"]): row for row in self._asker.rows(ListNodes(limit=LARGEST), ANSWER)}
        for node in sorted({*self.rows, *found}):
            row = found.get(node)
            if self._shaped(node, row) == self.rows.get(node):
                continue
            if row and row.get("disk"):
                self._due[node] = now
            else:
                self._put(node, row)
        self._all_due = now + AGAIN

    def _ask(self, node: str) -> Mapping[str, Any] | None:
        try:
            found: dict[str, Any] = self._asker.query(ShowNode(node=node), ANSWER)["node"]
        except QueryFailed as error:
            if error.problem.slug != "node-unknown":
                raise
            return None
        return found

    def _shaped(self, node: str, row: Mapping[str, Any] | None) -> Row | None:
        if row is None or (self._project and row.get("project") != self._project):
            return None
        known = self.rows.get(node, {})
        shaped = {name: row.get(name) for name in COLUMNS}
        if "boot" in row:
            shaped["boot"] = (row["boot"] or {}).get("stage")
        elif known.get("disk") == row.get("disk"):
            shaped["boot"] = known.get("boot")
        return shaped

    def _put(self, node: str, row: Mapping[str, Any] | None) -> None:
        """Keep a row, and its change if it is one."""
        shaped, before = self._shaped(node, row), self.rows.get(node)
        if shaped == before:
            return
        self.rows.pop(node, None)
        if shaped is None:
            self._changes.append({"node": node, "state": GONE if row is None else row.get("state")})
        else:
            self.rows[node] = shaped
            self._changes.append(shaped)


def _node(subject: object) -> str | None:
    kind, _, name = str(subject).partition("/")
    return name if kind == "node" and name else None
