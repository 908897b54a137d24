"""Moments as messages name them. What happens at them is decided elsewhere."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime

__all__ = ["Moment"]


def _in_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        # At the ends of the calendar an offset leads out of it, and no database could keep it.
        raise ValueError("this time is none in UTC") from error


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
