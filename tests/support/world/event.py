"""The events of stories: a command that arrives, and something that goes wrong. Values; nothing is drawn here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Command", "Fault"]


@dataclass(frozen=True)
class Command:
    """A command that arrives `at` a second, and again at `twice`. It is not to begin `expires` seconds after the
    first, by a clock that never jumps."""

    at: float
    message: str
    user: str
    kind: str
    data: dict[str, Any]
    twice: float | None = None
    expires: float | None = None

    def __str__(self) -> str:
        fields = ", ".join(f"{name}={value}" for name, value in self.data.items() if value is not None)
        again = f", and again at {self.twice:.1f} s" if self.twice else ""
        again += f", not later than {self.expires:.1f} s after that" if self.expires is not None else ""
        return f"{self.at:6.1f} s  {self.user} sends {self.kind}({fields}){again}"


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong: `at` a second, or at the `nth` moment of a head that is called `what` (any, if that
    isn't said; of any head, if `where` isn't). It takes so many `seconds`; `value` says more."""

    kind: str
    where: str
    at: float = -1.0
    nth: int = -1
    seconds: float = 0.0
    value: str = ""
    what: str = ""

    def __str__(self) -> str:
        when = (
            f"{self.at:6.1f} s " if self.nth < 0 else f"{self.what or 'moment'} #{self.nth} of {self.where or 'any'}:"
        )
        return f"{when} {self.kind} {self.where} {self.value} {self.seconds:.1f} s"
