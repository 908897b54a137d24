"""Ids that sort by time: UUID version 7 (RFC 9562, section 5.7). Time and chance come from the caller."""

from __future__ import annotations

import uuid
from datetime import datetime

__all__ = ["uuid7"]


def uuid7(now: datetime, chance: bytes) -> uuid.UUID:
    """A UUIDv7 of this millisecond; `chance` is ten random bytes."""
    value = int(now.timestamp() * 1000) << 80 | int.from_bytes(chance[:10], "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return uuid.UUID(int=value)
