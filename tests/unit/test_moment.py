"""Moments in messages: any that UTC knows, and no other."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from bmid.handlers.create_project import CreateProject
from bmid.handlers.list_operations import ListOperations


@pytest.mark.parametrize(
    "text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-11-21T08:00:00", "soon"]
)
def test_a_moment_that_no_database_could_keep_is_rejected_with_its_reason(text: str) -> None:
    """Else it would stand in the queue for ever: read, failed on, and delivered again."""
    with pytest.raises(ValidationError, match="expires_at"):
        CreateProject.model_validate({"project": "p1", "expires_at": text})
    with pytest.raises(ValidationError, match="since"):
        ListOperations.model_validate({"since": text})


def test_an_offset_is_worked_out() -> None:
    command = CreateProject.model_validate({"project": "p1", "expires_at": "2026-11-21T08:00:00+02:00"})
    assert command.expires_at == datetime(2026, 11, 21, 6, tzinfo=UTC)
    assert command.payload()["expires_at"] == "2026-11-21T06:00:00Z"
