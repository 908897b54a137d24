"""bmid trash expire: what can't be restored any more is told to those whose it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import select

from bmid.cli.main import main
from bmid.store import schema
from tests.support.bench import Bench
from tests.support.purging import DAY

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture
def bench(tmp_path: Path, blank: Path) -> Iterator[Bench]:
    """Two projects that have removed something eight days ago by the clock on the wall, and one of them today."""
    one = Bench(tmp_path, blank=blank, trash_days=30.0).open()
    one.furnish()
    one.do("project.create", project="p2")
    real = one.clock.moment
    one.clock.advance(-8 * DAY)
    for project, disk in (("p1", "d1"), ("p1", "d2"), ("p2", "d3")):
        one.do("disk.create", project=project, disk=disk, image="p1/debian")
        one.do("disk.remove", project=project, disk=disk)
    one.clock.moment = real
    one.do("image.remove", project="p1", image="debian")
    yield one
    one.close()


def expire(bench: Bench, *words: str) -> str:
    config = bench.folder / "bmid.toml"
    config.write_text(f'[database]\nurl = "sqlite:///{bench.folder}/bmid.db"\n[head]\nname = "h1"\n')
    done = CliRunner().invoke(main, ["--config", str(config), "trash", "expire", "--reason", "full", *words])
    assert done.exit_code == 0, done.output
    return done.output


def told(bench: Bench) -> list[tuple[str, str, int, int, str]]:
    """Events as they go out: routing key, subject, images, disks, reason."""
    with bench.database.read() as tx:
        found = tx.execute(select(schema.outbox).where(schema.outbox.c.type == "bmi.trash.expired.v1")).all()
    return [
        (
            one.routing_key,
            one.envelope["subject"],
            *(one.envelope["data"][key] for key in ("images", "disks", "reason")),
        )
        for one in sorted(found, key=lambda one: one.routing_key)
    ]


def test_each_project_hears_of_its_own(bench: Bench) -> None:
    """And of nothing that can still be restored."""
    assert "3 things" in expire(bench, "--older-than", "5")
    assert told(bench) == [
        ("bmi.trash.expired.v1.p1", "trash/p1", 0, 2, "full"),
        ("bmi.trash.expired.v1.p2", "trash/p2", 0, 1, "full"),
    ]
    assert "1 things" in expire(bench, "--project", "p1")
    assert told(bench)[1:2] == [("bmi.trash.expired.v1.p1", "trash/p1", 1, 0, "full")]


def test_where_nothing_expires_nothing_is_said(bench: Bench) -> None:
    assert "0 things" in expire(bench, "--project", "p3")
    assert told(bench) == []
