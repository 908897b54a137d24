"""A delivery, as acceptance meets it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Letter"]


@dataclass(frozen=True)
class Letter:
    """A delivery."""

    body: bytes
    headers: Mapping[str, Any]
    user_id: str | None = "alice"
    content_type: str | None = "application/cloudevents+json"
