"""The isolation port: who may have which node."""

from __future__ import annotations

from abc import ABC, abstractmethod

__all__ = ["Isolation"]


class Isolation(ABC):
    """Who may have which node, on which networks. Without an isolation layer everything is allowed."""

    @abstractmethod
    def allows(self, project: str, node: str) -> bool:
        """Whether the project may use the node now."""
