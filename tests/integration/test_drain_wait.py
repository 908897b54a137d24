"""`bmid head drain --wait` ends: when the head is empty, or when its time is up, with what is left."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner, Result

from bmid.cli import head
from bmid.cli.main import main
from bmid.store import heads
from bmid.store.heads import Presence
from tests.support.bench import Bench

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture
def bench(tmp_path: Path, blank: Path) -> Iterator[Bench]:
    """Head h1 with a mapped node that can go nowhere."""
    site = Bench(tmp_path, blank=blank).open()
    site.furnish("n1")
    site.do("node.map", project="p1", node="n1", image="debian")
    with site.database.write() as tx:
        heads.beat(tx, "h1", "1", Presence({}))
    yield site
    site.close()


def drain(bench: Bench, *words: str) -> Result:
    """The command as it is typed."""
    config = bench.folder / "bmid.toml"
    config.write_text(f'[database]\nurl = "sqlite:///{bench.folder}/bmid.db"\n[head]\nname = "h1"\n'
                      f'state_folder = "{bench.folder}"\n')  # fmt: skip
    try:
        return CliRunner().invoke(main, ["--config", str(config), "head", "drain", "h1", "--wait", *words])
    finally:
        structlog.reset_defaults()


def test_it_waits_no_longer_than_it_was_told_and_says_what_is_left(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head, "LOOK", 0.1)
    began = time.monotonic()
    done = drain(bench, "--timeout", "1")
    assert 1 <= time.monotonic() - began < 20
    assert done.exit_code == 1
    assert "node n1" in done.stdout
    assert "no other head can take its address" in done.stderr


def test_it_says_when_it_is_safe(bench: Bench) -> None:
    bench.do("node.unmap", project="p1", node="n1")
    done = drain(bench)
    assert (done.exit_code, "safe to switch it off" in done.stdout) == (0, True), done.output
