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


class Bars:
    """One bar for each thing in work. `names` says what a command is about, by the command's id."""

    def __init__(self, names: dict[str, str]) -> None:
        self._names = names
        self._tasks: dict[str, TaskID] = {}
        self._progress: Progress | None = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
            from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

            columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn()
            self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
            self._progress.start()
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        if self._progress:
            self._progress.stop()

    def event(self, event: Envelope) -> None:
        """Show what an event says."""
        name = self._names.get(event.causationid or "", "")
        if event.type == OperationAccepted.type:
            self.step(name, "accepted")
        elif event.type == OperationProgressed.type:
            data = event.data
            self.step(name, str(data.get("step", "")), _number(data.get("done")), _number(data.get("total")))

    def step(self, name: str, step: str, done: int | None = None, total: int | None = None) -> None:
        """Bytes done and in all, of one thing."""
        if not self._progress:
            return
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=None)
        words = f"{name} {step}".strip()
        self._progress.update(self._tasks[name], description=words, completed=done or 0, total=total)


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None
