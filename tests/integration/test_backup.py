"""A backup holds every row as of one moment, whole or not at all, and comes back on either database."""

from __future__ import annotations

import gzip
import json
import secrets
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import func, insert, select

from bmid.care.backup import Backup, inspect
from bmid.cli.main import main
from bmid.errors import Misconfigured, PermanentError, Refused
from bmid.handlers.restore_export import RestoreExport
from bmid.parts import make_database
from bmid.settings import Settings
from bmid.store import dump, schema
from bmid.store.database import Database
from bmid.store.heads import Presence, beat
from bmid.store.outbox import take_number
from lab.postgresql import PostgreSQL
from tests.support.bench import Bench

pytestmark = pytest.mark.usefixtures("quiet")
SETTLED = ("head", "claim", "counter", "identity")  # what a restore changes, because time has passed


def quietly(done: int, total: int) -> None:
    """Progress that nobody sees."""


def settings(url: str, folder: Path) -> Settings:
    folder.mkdir(exist_ok=True)
    return Settings(database={"url": url}, head={"name": "h1", "state_folder": folder})


@pytest.fixture
def site(tmp_path: Path, blank: Path) -> Settings:
    """A site with rows in nearly every table, and an operation that waits."""
    folder = tmp_path / "site"
    folder.mkdir()
    bench = Bench(folder, blank=blank).open()
    bench.furnish("n1", "n2", "n3")
    bench.do("image.update", project="p1", image="debian", labels={"os": "d"}, default_for={"os": "d"})
    for node in ("n1", "n2", "n3"):
        bench.do("node.map", project="p1", node=node, image="debian", hostname=f"web-{node}", user_data="#cloud-config")
    bench.do("node.unmap", project="p1", node="n2", disk="park")
    bench.do("node.unmap", project="p1", node="n3")
    bench.submit(RestoreExport(node="n1", disk=next(one.id for one in bench.view().disks() if one.node)))
    bench.command("image.import", project="p1", image="new", source={"upload": "0" * 64})
    bench.worker().run_once()
    bench.close()
    return settings(f"sqlite:///{folder}/bmid.db", folder / "state")


@pytest.fixture
def empty(tmp_path: Path, blank: Path) -> Settings:
    """A database with a schema and nothing in it."""
    shutil.copy(blank, tmp_path / "empty.db")
    return settings(f"sqlite:///{tmp_path}/empty.db", tmp_path / "empty")


def rows(given: Settings) -> dict[str, Any]:
    """All rows, JSON as text: a JSON null is none at all."""
    database = make_database(given)
    with database.snapshot() as tx:
        found = {name: list(dump.rows(tx, name)) for name in dump.tables()}
    database.close()
    return found


def test_a_backup_moves_a_site_from_sqlite_to_postgresql_and_back(
    site: Settings, empty: Settings, tmp_path: Path, postgresql: PostgreSQL, blank_postgresql: str
) -> None:
    """Every row as it was, JSON and times too, and new rows get numbers of their own."""
    name = f"t{secrets.token_hex(6)}"
    other = settings(postgresql.create_database(name, template=blank_postgresql), tmp_path / "other")
    taken = Backup(site, quietly).take(tmp_path / "one")
    assert set(dump.tables()) - {name for name, count in taken.tables.items() if count} <= {"finding", "look", "portal"}
    Backup(other, quietly).restore(tmp_path / "one")
    database = make_database(other)
    with database.write() as tx:
        highest = tx.execute(select(func.max(schema.outbox.c.id))).scalar_one()
        row = tx.execute(select(schema.outbox).limit(1)).mappings().one()
        fresh = {key: value for key, value in row.items() if key not in ("id", "event", "position")}
        made = tx.execute(insert(schema.outbox).values(event="e", **fresh).returning(schema.outbox.c.id)).scalar_one()
        assert made == highest + 1
        tx.connection.rollback()
    database.close()
    Backup(other, quietly).take(tmp_path / "two")
    Backup(empty, quietly).restore(tmp_path / "two")
    was, became = rows(site), rows(empty)
    for table in dump.tables():
        if table not in SETTLED:
            assert was[table] == became[table] == rows(other)[table], table
    postgresql.drop_database(name)


def test_after_a_restore_no_head_counts_as_dead_and_no_number_is_given_twice(
    site: Settings, empty: Settings, tmp_path: Path
) -> None:
    """Targets that were made since the backup stand somewhere."""
    Backup(site, quietly).take(tmp_path / "one")
    Backup(empty, quietly).restore(tmp_path / "one")
    one, two = make_database(site), make_database(empty)
    with one.write() as before, two.write() as after:
        assert take_number(after, "target") == take_number(before, "target") + dump.LEAP
        assert set(after.execute(select(schema.head.c.instance)).scalars()) == {""}
        assert set(after.execute(select(schema.claim.c.holder)).scalars()) == {None}
    one.close()
    two.close()


def test_a_backup_is_of_one_moment_while_others_write(database: Database, url: str, tmp_path: Path) -> None:
    """And hinders none of them."""
    given = settings(url, tmp_path / "state")
    with database.write() as tx:
        take_number(tx, "first")
    written = []

    def interrupt(done: int, total: int) -> None:
        if not written:
            with database.write() as tx:
                take_number(tx, "second")
                written.append(take_number(tx, "first"))

    original = dump.counts

    def counted(tx: Any) -> Any:
        found = original(tx)
        interrupt(0, 0)
        return found

    dump.counts = counted
    try:
        summary = Backup(given, interrupt).take(tmp_path / "one")
    finally:
        dump.counts = original
    assert written == [2]
    assert summary.tables["counter"] == 1


def test_a_backup_is_for_its_owner_alone_and_nothing_else_is_left(site: Settings, tmp_path: Path) -> None:
    """Also in the place of one that everybody could read."""
    folder = tmp_path / "backups"
    folder.mkdir()
    (folder / "one").write_text("old")
    (folder / "one").chmod(0o644)
    Backup(site, quietly).take(folder / "one")
    assert stat.S_IMODE((folder / "one").stat().st_mode) == 0o600
    assert [path.name for path in folder.iterdir()] == ["one"]


@pytest.mark.parametrize("harm", ["cut", "bit", "row", "value", "count", "text", "absent", "later"])
def test_a_backup_that_is_not_whole_is_not_put_back(site: Settings, empty: Settings, tmp_path: Path, harm: str) -> None:
    """And the database stays as it was."""
    file = tmp_path / "one"
    Backup(site, quietly).take(file)
    raw, lines = file.read_bytes(), gzip.decompress(file.read_bytes()).splitlines(keepends=True)
    match harm:
        case "cut":
            file.write_bytes(raw[: len(raw) // 2])
        case "bit":
            file.write_bytes(raw[:400] + bytes([raw[400] ^ 1]) + raw[401:])
        case "row":
            file.write_bytes(gzip.compress(b"".join(lines[:3] + lines[4:])))
        case "value":
            file.write_bytes(gzip.compress(b"".join(lines).replace(b"debian", b"debiam")))
        case "count":
            file.write_bytes(gzip.compress(b"".join(lines[:-1])))
        case "text":
            file.write_text("a text")
        case "absent":
            file.unlink()
        case "later":
            file.write_bytes(gzip.compress(lines[0].replace(b'"0003"', b'"9999"') + b"".join(lines[1:])))
    with pytest.raises(PermanentError, match=str(file)) as caught:
        Backup(empty, quietly).restore(file, replace=True)
    assert caught.value.problem.slug == "backup-unusable"
    assert not any(rows(empty).values())


def test_a_database_with_rows_is_replaced_only_where_that_is_said(site: Settings, tmp_path: Path) -> None:
    """Then it is as in the backup."""
    Backup(site, quietly).take(tmp_path / "one")
    before = rows(site)
    with pytest.raises(Refused, match="not empty: 1 in image"):
        Backup(site, quietly).restore(tmp_path / "one")
    Backup(site, quietly).restore(tmp_path / "one", replace=True)
    assert {name: rows(site)[name] for name in before if name not in SETTLED} == {
        name: before[name] for name in before if name not in SETTLED
    }


def test_nothing_is_put_back_under_a_bmid_that_is_at_work(site: Settings, empty: Settings, tmp_path: Path) -> None:
    """It would go on from rows that are not there any more."""
    Backup(site, quietly).take(tmp_path / "one")
    database = make_database(empty)
    with database.write() as tx:
        beat(tx, "h2", "i1", Presence())
    database.close()
    with pytest.raises(Misconfigured, match="h2"):
        Backup(empty, quietly).restore(tmp_path / "one", replace=True)


def test_the_command_says_what_is_in_the_file(site: Settings, tmp_path: Path) -> None:
    """For people and for programs."""
    config = tmp_path / "bmid.toml"
    config.write_text(f'[database]\nurl = "{site.database.url}"\n[head]\nstate_folder = "{tmp_path}/state"\n')
    run = CliRunner()
    done = run.invoke(main, ["--config", str(config), "backup", str(tmp_path / "one"), "-o", "json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.output)
    found = inspect(tmp_path / "one")
    assert (said["rows"], said["sha256"], said["tables"]["disk"]) == (found.rows, found.sha256, 2)
    done = run.invoke(main, ["--config", str(config), "restore", str(tmp_path / "one"), "--replace", "--dry-run"])
    assert done.exit_code == 0, done.output
    assert "could be put back" in done.output
    done = run.invoke(main, ["--config", str(config), "restore", str(tmp_path / "one")])
    assert (done.exit_code, "not empty" in done.output) == (65, True)
