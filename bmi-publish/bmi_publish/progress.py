"""Progress on a terminal: bars on standard error, and nothing at all where that is no terminal."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

from bmid.messages.operation import OperationAccepted, OperationProgressed

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from bmid.messages.envelope import Envelope

__all__ = ["Bars"]

MOST = 8  # bars on a screen


class Bars:
    """A bar for each thing in work, or one for all where there are many. `names` says what a command is about, by
    the command's id."""

    def __init__(self, names: dict[str, str]) -> None:
        self._names = names
        self._tasks: dict[str, TaskID] = {}
        self._ended: set[str] = set()
        self._progress: Progress | None = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich import progress  # noqa: PLC0415 - only a terminal needs it
            from rich.console import Console  # noqa: PLC0415

            count = progress.MofNCompleteColumn() if self._many else progress.DownloadColumn()
            columns = (progress.TextColumn("{task.description}"), progress.BarColumn(), count)
            elapsed = progress.TimeElapsedColumn()
            self._progress = progress.Progress(*columns, elapsed, console=Console(stderr=True), transient=True)
            self._progress.start()
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        if self._progress:
            self._progress.stop()

    def event(self, event: Envelope) -> None:
        """Show what an event says."""
        cause = event.causationid or ""
        name = self._names.get(cause, "")
        if event.type not in (OperationAccepted.type, OperationProgressed.type):
            self._ended.add(cause)
        if self._many:
            self.step("", f"{len(self._names)} commands", len(self._ended), len(self._names))
        elif event.type == OperationAccepted.type:
            self.step(name, "accepted")
        elif event.type == OperationProgressed.type:
            data = event.data
            self.step(name, str(data.get("step", "")), _number(data.get("done")), _number(data.get("total")))

    def step(self, name: str, step: str, done: int | None = None, total: int | None = None) -> None:
        """Bytes done and in all, of one thing; or nodes of a group."""
        if not self._progress:
            return
        from rich.markup import escape  # noqa: PLC0415 - loaded with the bars

        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=None)
        # Not markup: the words may come from another program.
        words = escape(f"{name} {step}".strip())
        self._progress.update(self._tasks[name], description=words, completed=done or 0, total=total)

    @property
    def _many(self) -> bool:
        return len(self._names) > MOST


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None
