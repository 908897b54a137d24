"""Places outside of BMI that images come from and go to, as messages name them. No message of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from bmid.errors import Rejected

__all__ = ["FileName", "RbdImage", "RbdName", "Sha256", "require_listed"]

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9](?:\.?[A-Za-z0-9_+-])*$", max_length=200)]
RbdName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+-]*$", max_length=127)]


class RbdImage(BaseModel):
    """An RBD image that BMI doesn't keep."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pool: RbdName = Field(description="one of the pools that the site's settings list for this")
    image: RbdName = Field(description="its name in the pool")


def require_listed(pool: str, listed: Sequence[str], what: str) -> None:
    """Raises Rejected for a pool that the settings don't list: that never changes by itself."""
    if pool in listed:
        return
    known = f"This site has {', '.join(listed)} for that." if listed else "This site has none for that."
    raise Rejected("pool-not-listed", f"{pool} is no pool to {what}", todo=known)
