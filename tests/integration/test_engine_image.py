"""Images that are copied, exported and removed while others want them: nobody is promised what is gone."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest

from bmid.drivers.base import Job, JobState
from bmid.errors import PermanentError, Refused
from bmid.handlers.base import Context
from bmid.model.operation import Phase
from bmid.store.rows import apply
from bmid.store.view import StoreView
from tests.support.accident import Trip
from tests.support.bench import Bench
from tests.support.recipe import CONTENT

pytestmark = pytest.mark.usefixtures("quiet")
OS = {"os": "debian"}


@pytest.fixture
def bench(tmp_path: Path, blank: Path) -> Iterator[Bench]:
    folder = tmp_path / "site"
    folder.mkdir()
    made = Bench(folder, blank=blank).open()
    made.furnish("n1", "n2")
    yield made
    made.close()


class At(Trip):
    """Strikes at a driver's call, the first time that it comes."""

    def __init__(self, moment: str, action: Callable[[], object]) -> None:
        super().__init__()
        self._moment: str | None = moment
        self._action = action

    def __call__(self, what: str) -> None:
        if what == self._moment:
            self._moment = None
            self._action()


def problem(data: dict[str, object]) -> str:
    found = data["problem"]
    assert isinstance(found, dict)
    return str(found["type"]).rpartition(":")[2]


def test_defaults_of_an_image_go_with_it(bench: Bench) -> None:
    bench.do("image.update", project="p1", image="debian", default_for=OS)
    bench.do("image.copy", project="p1", image="debian", to="other", flatten=True)
    bench.do("image.update", project="p1", image="other", default_for={"os": "other"})
    assert bench.do("image.remove", project="p1", image="debian")["changed"]
    assert bench.view().default_image("p1", OS) is None
    assert bench.view().default_image("p1", {"os": "other"}).name == "other"
    assert problem(bench.do("node.map", project="p1", node="n1", image_labels=OS)) == "image-unknown"


def test_a_default_that_another_image_takes_stays_with_it(bench: Bench) -> None:
    """However the two commands meet: the later one decides."""
    bench.do("image.copy", project="p1", image="debian", to="other")
    bench.do("image.update", project="p1", image="debian", default_for=OS)
    taken = bench.command("image.update", project="p1", image="other", default_for=OS)
    given_up = bench.command("image.update", project="p1", image="debian", no_default=True)
    bench.settle()
    assert bench.final(taken.id)["data"]["defaults"] == [OS]
    assert bench.final(given_up.id)["data"]["changed"] is False
    assert bench.view().default_image("p1", OS).name == "other"


def test_while_an_image_is_being_removed_nobody_is_given_it_and_afterwards_all_are(bench: Bench) -> None:
    """A removal that fails with the bytes still there takes nothing away for good."""
    bench.do("image.update", project="p1", image="debian", default_for=OS)
    seen: list[str] = []

    def strike() -> None:
        one = bench.command("node.map", project="p1", node="n1", image_labels=OS)
        bench.worker().run_once()
        seen.append(problem(bench.final(one.id)["data"]))
        raise PermanentError("accident", "the storage does not want to")

    one = bench.command("image.remove", project="p1", image="debian")
    bench.trip = At("before storage.remove_image", strike)
    bench.settle()
    assert seen == ["image-unknown"]
    assert bench.find(one.id).phase is Phase.FAILED
    assert bench.unexplained() == []
    assert bench.do("node.map", project="p1", node="n1", image_labels=OS)["changed"]


def test_an_image_whose_bytes_are_gone_is_promised_to_nobody_until_its_removal_ends(bench: Bench) -> None:
    bench.do("image.update", project="p1", image="debian", default_for=OS)

    def strike() -> None:
        (entry,) = bench.storage.trash()
        bench.storage.purge(entry)
        raise PermanentError("accident", "it is gone, but who believes that?")

    one = bench.command("image.remove", project="p1", image="debian")
    bench.trip = At("after storage.remove_image", strike)
    bench.settle()
    assert bench.find(one.id).phase is Phase.FAILED
    assert not bench.view().image("p1", "debian").ready
    for kind, data in (
        ("node.map", {"node": "n1", "image": "debian"}),
        ("node.map", {"node": "n1", "image_labels": OS}),
        ("image.copy", {"image": "debian", "to": "copy"}),
        ("image.export", {"image": "debian", "to": {"file": "a"}}),
        ("image.update", {"image": "debian", "labels": {}}),
    ):
        assert problem(bench.do(kind, project="p1", **data)) == "image-unknown"
    assert bench.do("image.remove", project="p1", image="debian")["changed"]
    assert bench.unexplained() == []


def test_an_exported_file_holds_the_image_and_its_digest_is_told(bench: Bench) -> None:
    """Also by a worker that finds all of it done by one that died."""
    said = bench.do("image.export", project="p1", image="debian", to={"file": "a.raw", "format": "raw"})
    whole = (bench.exports / "a.raw").read_bytes()
    assert whole[:3] == b"\xeb\x63\x90"
    assert said["sha256"] == hashlib.sha256(whole).hexdigest()
    assert [path.name for path in bench.exports.iterdir()] == ["a.raw"]


def test_a_file_that_somebody_puts_there_meanwhile_stays_and_the_export_fails(bench: Bench) -> None:
    """Nothing of the export is left, and under another name the next one works."""

    one = bench.command("image.export", project="p1", image="debian", to={"file": "a"})
    bench.trip = At("before imaging.write", lambda: (bench.exports / "a").write_bytes(b"precious"))
    bench.settle()
    assert problem(bench.final(one.id)["data"]) == "export-exists"
    assert [path.name for path in bench.exports.iterdir()] == ["a"]
    assert (bench.exports / "a").read_bytes() == b"precious"
    assert "sha256" in bench.do("image.export", project="p1", image="debian", to={"file": "b"})


def test_a_source_that_somebody_opens_while_it_is_copied_is_not_taken(bench: Bench) -> None:
    """What came of it could be half of each."""
    bench.storage.put_foreign("theirs", "golden", 1 << 17, CONTENT)
    source = {"rbd": {"pool": "theirs", "image": "golden"}}
    one = bench.command("image.import", project="p1", image="new", source=source)
    bench.trip = At("after imaging.copy", lambda: bench.storage.hold_foreign("theirs", "golden"))
    bench.settle()
    assert problem(bench.final(one.id)["data"]) == "source-in-use"
    assert bench.unexplained() == []
    bench.storage.hold_foreign("theirs", "golden", held=False)
    assert bench.do("image.import", project="p1", image="new", source=source)["format"] == "raw"


@pytest.mark.parametrize(("size", "slug"), [(0, "image-empty"), (1 << 41, "too-large")])
def test_a_source_of_no_size_or_too_much_of_it_is_refused(bench: Bench, size: int, slug: str) -> None:
    bench.storage.put_foreign("theirs", "golden", size)
    source = {"rbd": {"pool": "theirs", "image": "golden"}}
    assert problem(bench.do("image.import", project="p1", image="new", source=source)) == slug
    assert bench.unexplained() == []


def test_an_image_of_odd_size_is_filled_up_to_a_sector(bench: Bench) -> None:
    bench.storage.put_foreign("theirs", "golden", 1000, b"odd")
    source = {"rbd": {"pool": "theirs", "image": "golden"}}
    said = bench.do("image.import", project="p1", image="new", source=source)
    assert said["size"] == 1024
    assert bench.storage.read_image(said["id"], 0, 2048) == b"odd".ljust(1024, b"\0")


def test_a_full_storage_undoes_a_copy_and_the_next_try_works(bench: Bench) -> None:
    bench.storage._size = bench.storage._used()
    failed = bench.do("image.copy", project="p1", image="debian", to="copy", flatten=True)
    assert problem(failed) == "pool-full"
    assert bench.unexplained() == []
    bench.storage._size = 1 << 50
    assert bench.do("image.copy", project="p1", image="debian", to="copy", flatten=True)["cloned"] is False


MAP = ("node.map", {"project": "p1", "node": "n1", "image_labels": OS})
REMOVE = ("image.remove", {"project": "p1", "image": "debian"})


@pytest.mark.parametrize(
    ("first", "second", "slug"), [(MAP, REMOVE, "image-in-use"), (REMOVE, MAP, "image-unknown")], ids=["map", "remove"]
)
def test_of_a_map_by_labels_and_a_removal_the_second_sees_the_first(
    tmp_path: Path, url: str, first: tuple[str, Any], second: tuple[str, Any], slug: str
) -> None:
    """Though they have no key in common: whoever looks later waits until the other one has written."""
    (tmp_path / "site").mkdir()
    bench = Bench(tmp_path / "site", url=url).open()
    bench.furnish("n1")
    bench.do("image.update", project="p1", image="debian", default_for=OS)
    looked, go = threading.Event(), threading.Event()

    def plan(kind: str, data: dict[str, Any], stay: bool) -> None:
        handler = bench.registry.commands[f"bmi.{kind}.v1"]
        with bench.database.write() as tx:
            given = Context(f"op-{kind}", "c", "h1", tx.now, StoreView(tx, 1e9), bench.site)
            apply(tx, handler.plan(handler.command.model_validate(data), given).reserve)
            if stay:
                looked.set()
                go.wait(15)

    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(plan, *first, stay=True)
        assert looked.wait(30)
        other = pool.submit(plan, *second, stay=False)
        assert not wait([other], 0.3).done
        go.set()
        one.result(30)
        with pytest.raises(Refused) as caught:
            other.result(30)
    assert caught.value.problem.slug == slug
    bench.close()


def test_a_copy_that_fails_again_and_again_is_given_up_however_long_each_try_takes(bench: Bench) -> None:
    """The engine waits for each of them, and that is no success."""
    looks: dict[str, int] = {}
    run = bench.imaging.poll

    def poll(job: str, patience: float = 0.0) -> Job | None:
        if run(job) is None or looks.setdefault(job, 0) == 4:
            looks.clear()
            return run(job) and Job(JobState.FAILED, problem=("pool-full", "the pool is full", True))
        looks[job] += 1
        return Job(JobState.RUNNING, looks[job], 100)

    bench.imaging.poll = poll  # type: ignore[method-assign]
    began = bench.clock.moment
    assert problem(bench.do("image.copy", project="p1", image="debian", to="other", flatten=True)) == "pool-full"
    assert 3600 <= (bench.clock.moment - began).total_seconds() < 4000
    assert bench.unexplained() == []
