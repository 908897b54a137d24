"""What a run has come to, as text: figures, then every sentence about what is wrong. Nothing is measured here."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

__all__ = ["Report"]

SHOWN = 12  # sentences of each kind


@dataclass
class Report:
    """The figures of a run; the lists are empty where all is right."""

    commands: int = 0
    duplicates: int = 0
    events: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    restarts: int = 0
    moves: int = 0
    calls: int = 0
    ways: int = 0
    looks: int = 0
    differed: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    verified: int = 0
    quiet: float = 0.0
    recovery: tuple[float, str] = (0.0, "no fault")
    stall: float = 0.0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    interleavings: list[str] = field(default_factory=list)
    misled: list[str] = field(default_factory=list)
    hanging: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)  # what kept the run itself from doing its work

    @property
    def right(self) -> bool:
        """Whether every promise was kept, and there was something to keep."""
        something = (self.commands, self.events, self.outcomes["done"], self.calls, self.ways)
        return all((*something, self.acknowledged, self.verified)) and not any(self._lists().values())

    def _lists(self) -> dict[str, list[str]]:
        return {
            "lost": self.lost,
            "doubled": self.doubled,
            "gaps": self.gaps,
            "orphans": self.orphans,
            "interleavings": self.interleavings,
            "misled": self.misled,
            "nodes hanging": self.hanging,
            "bytes wrong": self.wrong,
            "run broken": self.broken,
        }

    def text(self) -> str:
        """For people, and for a grep."""
        faults = ", ".join(f"{kind} {count}" for kind, count in sorted(self.faults.items())) or "none"
        ends = ", ".join(f"{count} {end}" for end, count in self.outcomes.most_common())
        rows = {
            "commands": f"{self.commands}, {self.duplicates} of them twice; {self.events} events",
            "operations": ends or "none",
            "faults": f"{self.faults.total()}: {faults}",
            "heads that ended by themselves": str(self.restarts),
            "addresses moved": str(self.moves),
            "looks of bmid": f"{self.looks}, which found {dict(self.differed) or 'nothing'}",
            **{name: str(len(found)) for name, found in self._lists().items()},
            "driver calls looked at": str(self.calls),
            "ways of nodes looked at": str(self.ways),
            "bytes verified": f"{self.verified}; {self.acknowledged} acknowledged writes",
            "longest recovery": f"{self.recovery[0]:.1f} s after {self.recovery[1]}",
            "longest pause of a node": f"{self.stall:.1f} s",
            "quiet": f"{self.quiet:.1f} s after the last fault",
            "verdict": "all right" if self.right else "WRONG",
        }
        width = max(len(name) for name in rows) + 2
        lines = [f"{name + ':':{width}}{value}" for name, value in rows.items()]
        for name, found in self._lists().items():
            lines += [f"  {name}: {one}" for one in found[:SHOWN]]
            lines += [f"  {name}: and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
        return "\n".join(lines)
