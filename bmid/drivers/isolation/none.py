"""No isolation layer: one site that trusts its projects."""

from __future__ import annotations

from bmid.drivers.base import Isolation

__all__ = ["NoIsolation"]


class NoIsolation(Isolation):
    """Everything is allowed."""

    def allows(self, project: str, node: str) -> bool:
        return True
