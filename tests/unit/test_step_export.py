"""How an exported file gets its name and loses it again: over nothing, and only if it is ours."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bmid.drivers.base import Foreign, Job, JobState
from bmid.errors import Misconfigured, PermanentError, Refused, TransientError
from bmid.steps.base import World
from bmid.steps.export import PlaceFile, WriteFile, WriteForeign, check_folder


@dataclass
class Notes:
    """What the steps of one operation wrote down."""

    operation: str = "op"
    marks: dict[str, Any] = field(default_factory=dict)

    def mark(self, key: str) -> Any:
        return self.marks.get(key)

    def write(self, key: str, value: Any) -> None:
        self.marks[key] = value

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def progress(self, *_: object) -> None:
        pass


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A folder in which the hidden file is whole."""
    (tmp_path / ".op.part").write_bytes(b"whole")
    return cast(World, SimpleNamespace(exports=tmp_path, notes=Notes(), imaging=SimpleNamespace(cancel=lambda _: None)))


PLACE = PlaceFile(file="a")
WRITE = WriteFile(image="i", size=1, file="a", format="raw")


def names(world: World) -> list[str]:
    assert world.exports is not None
    return sorted(path.name for path in world.exports.iterdir())


def test_a_file_gets_its_name_once(world: World) -> None:
    """However often it is asked for, also by who finds all of it done."""
    for _ in range(3):
        assert PLACE.apply(world) is None
        assert names(world) == ["a"]
    assert WRITE.apply(world) is None


def test_a_file_that_was_named_by_one_who_died_is_known_again(world: World, tmp_path: Path) -> None:
    """The name is there, the hidden one too, and all that was written down was what it looks like."""
    world.notes.write("placed", [*_identity(tmp_path / ".op.part")])
    os.link(tmp_path / ".op.part", tmp_path / "a")
    world.notes.write("written", {"size": 5, "sha256": ""})
    assert WRITE.apply(world) is None
    assert PLACE.apply(world) is None
    assert names(world) == ["a"]


def _identity(path: Path) -> tuple[int, int, int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


@pytest.mark.parametrize("what", ["file", "link to nowhere"])
def test_what_has_the_name_keeps_it(world: World, tmp_path: Path, what: str) -> None:
    """And the way back leaves it alone, and nothing of ours."""
    if what == "file":
        (tmp_path / "a").write_bytes(b"whole")
    else:
        (tmp_path / "a").symlink_to(tmp_path / "nowhere")
    before = os.lstat(tmp_path / "a")
    with pytest.raises(Refused):
        WRITE.apply(world)
    with pytest.raises(PermanentError) as caught:
        PLACE.apply(world)
    assert caught.value.problem.slug == "export-exists"
    PLACE.revert(world)
    WRITE.revert(world)
    assert names(world) == ["a"]
    assert os.lstat(tmp_path / "a") == before


def test_the_way_back_takes_the_name_away_again(world: World) -> None:
    """The one that it gave."""
    PLACE.apply(world)
    PLACE.revert(world)
    WRITE.revert(world)
    assert names(world) == []


def test_the_way_back_does_not_take_away_what_came_in_its_place(world: World, tmp_path: Path) -> None:
    """Somebody has fetched ours, and put something of theirs there."""
    PLACE.apply(world)
    (tmp_path / "a").unlink()
    (tmp_path / "a").write_bytes(b"theirs")
    PLACE.revert(world)
    assert (tmp_path / "a").read_bytes() == b"theirs"


def test_a_folder_that_is_away_may_come_back(world: World, tmp_path: Path) -> None:
    """So it is tried again, in both directions; a site without one never has one."""
    away = cast(World, SimpleNamespace(**{**vars(world), "exports": tmp_path / "away"}))
    with pytest.raises(TransientError):
        WRITE.apply(away)
    with pytest.raises(TransientError):
        PLACE.apply(away)
    none = cast(World, SimpleNamespace(**{**vars(world), "exports": None}))
    with pytest.raises(PermanentError) as caught:
        WRITE.apply(none)
    assert caught.value.problem.slug == "exports-disabled"
    assert WRITE.revert(none) is None
    assert PLACE.revert(none) is None


def test_a_folder_is_tried_before_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`bmid check` says what is wrong with it, and leaves nothing there."""
    assert str(tmp_path) in check_folder(tmp_path)
    with pytest.raises(Misconfigured):
        check_folder(tmp_path / "away")

    def no_links(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", no_links)
    with pytest.raises(Misconfigured) as caught:
        check_folder(tmp_path)
    assert "hard links" in caught.value.problem.todo
    assert list(tmp_path.iterdir()) == []


class Pool:
    """A pool with so many parts of an unfinished export, and a child that is slow: what was done to both, in order."""

    def __init__(self, parts: int) -> None:
        self.parts = parts
        self.done: list[str] = []
        self.job: Job | None = None

    def remove_foreign(self, *_: str) -> bool:
        if self.parts:
            self.parts -= 1
            self.done.append("remove")
        return self.parts == 0

    def create_foreign(self, *_: object) -> Foreign:
        assert self.parts == 0
        self.done.append("create")
        return Foreign("there", 1)

    def address(self, _: str) -> str:
        return "here"

    def copy(self, *_: object) -> None:
        self.done.append("copy")
        self.job, self.parts = Job(JobState.RUNNING), 2

    def poll(self, _job: str, _patience: float = 0.0) -> Job | None:
        return self.job

    def cancel(self, _: str) -> None:
        self.job = None


def beside(pool: Pool) -> World:
    return cast(World, SimpleNamespace(storage=pool, imaging=pool, notes=Notes()))


FOREIGN = WriteForeign(image="i", size=1, pool="theirs", name="a")


def test_an_export_to_a_pool_begins_when_what_an_earlier_try_left_is_gone() -> None:
    """That may be much, so it is waited for; what is being written stays."""
    pool = Pool(parts=2)
    world = beside(pool)
    for _ in range(4):
        assert FOREIGN.apply(world)
    assert pool.done == ["remove", "remove", "create", "copy"]
    pool.job = Job(JobState.DONE)
    for _ in range(2):
        assert FOREIGN.apply(world) is None
    assert pool.done == ["remove", "remove", "create", "copy"]


def test_the_way_back_from_a_pool_waits_until_nothing_is_left() -> None:
    """Neither the child nor what it wrote."""
    pool = Pool(parts=0)
    world = beside(pool)
    assert FOREIGN.apply(world)
    assert FOREIGN.revert(world)
    assert pool.job is None
    for _ in range(2):
        assert FOREIGN.revert(world) is None
    assert pool.done == ["create", "copy", "remove", "remove"]
