"""Findings: when which may be mended, and where they belong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bmid.model.finding import Finding, Kind, Noted, Remedy, due, part

NOW = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.mark.parametrize("kind", list(Kind))
def test_strangers_are_never_touched_and_orphans_not_before_the_second_look_and_the_quarantine(kind: Kind) -> None:
    day = timedelta(days=1)

    def ready(looks: int, age: timedelta) -> bool:
        noted = Noted(Finding(kind, "x", "storage", "what"), NOW - age, NOW, looks)
        return due(noted, NOW, day)

    remedy = kind.about.remedy
    assert ready(9, 9 * day) is (remedy is not Remedy.NONE)
    assert ready(1, 9 * day) is (remedy in (Remedy.RESTORE, Remedy.WRITE) and kind is not Kind.OWNER_ASTRAY)
    assert ready(9, day / 2) is (remedy in (Remedy.RESTORE, Remedy.WRITE))
    assert (remedy is Remedy.REMOVE) is ("orphaned" in kind or kind is Kind.EXPORT_LEFT)


def test_a_finding_knows_the_part_that_was_looked_at_for_it() -> None:
    """By that it is kept while the part doesn't answer."""
    for place, wanted in (
        ("storage @x", "storage"),
        ("target s0", "target s0"),
        ("boot 10.0.0.9", "boot"),
        ("seed", "seed"),
        ("owner", "owner"),
    ):
        assert part(Finding(Kind.STRANGER, "x", place, "what")) == wanted
