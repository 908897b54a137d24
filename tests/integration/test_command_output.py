"""Every command of `bmid` that has something to say says it to programs, too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import structlog
from click.testing import CliRunner, Result

from bmid.cli.main import main
from bmid.errors import PermanentError
from bmid.model.operation import Phase
from bmid.store import claims, heads
from bmid.store.heads import Presence
from tests.support.bench import LEASE, Bench

pytestmark = pytest.mark.usefixtures("quiet")
# Commands that say nothing else than a document, which has its own form, or whose exit code says all.
APART = {
    "asyncapi": "a document, as JSON or YAML",
    "head carries": "keepalived's: its exit code is the answer",
    "messages": "a part of docs/messages.md",
    "operations show": "always JSON",
    "run": "the daemon: it has a log",
    "schemas": "a document, always JSON",
    "settings": "a settings file",
}
# As somebody types them on this site, in this order.
TYPED = {
    "backup": "backup {backup}",
    "check": "check",
    "claims break": "claims break node:n9 --reason r --yes",
    "claims list": "claims list",
    "fsck": "fsck",
    "head drain": "head drain h1",
    "head move": "head move 10.77.0.1 --to h1",
    "head portals": "head portals",
    "head undrain": "head undrain h1",
    "heads": "heads",
    "migrate": "migrate",
    "operations abandon": "operations abandon {stuck} --reason r",
    "operations list": "operations list",
    "operations retry": "operations retry {waiting}",
    "rebuild": "rebuild --from-storage --dry-run",
    "restore": "restore {backup} --dry-run",
    "trash expire": "trash expire --reason r",
}


def leaves(group: click.Group, words: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """All commands that do something, by their words."""
    context = click.Context(group)
    for name in group.list_commands(context):
        one = group.get_command(context, name)
        assert one is not None
        if isinstance(one, click.Group):
            yield from leaves(one, (*words, name))
        else:
            yield " ".join((*words, name)), one


COMMANDS = dict(leaves(main))


def test_every_command_is_told_here() -> None:
    assert sorted([*APART, *TYPED]) == sorted(COMMANDS)


@pytest.mark.parametrize("name", TYPED)
def test_it_takes_the_option_that_all_others_take(name: str) -> None:
    [option] = [one for one in COMMANDS[name].params if "-o" in one.opts]
    assert (option.opts, option.type.choices) == (["-o", "--output"], ("table", "json"))


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A site with something of each kind; the words that are its own."""
    folder = tmp_path_factory.mktemp("site")
    site = Bench(folder).open()
    site.furnish("n1", "n2")
    site.do("node.map", project="p1", node="n1", image="debian")
    stuck = _stuck(site, "n2")
    waiting = site.command("node.unmap", project="p1", node="n2")
    presence = Presence({name: f"10.77.0.1:{3260 + int(name)}" for name in site.target.shards})
    with site.database.write() as tx:
        claims.take(tx, ["node:n9"], "h1/gone", LEASE * 1e9, waiting.id)
        heads.beat(tx, "h1", "1", presence)
        tx.connection.exec_driver_sql("UPDATE head SET seen_at = '2999-01-01 00:00:00.000000'")
    site.close()
    (folder / "empty").mkdir()
    empty = _settings(folder / "empty")
    found = {"config": _settings(folder), "backup": str(folder / "b"), "stuck": stuck, "waiting": waiting.id}
    assert typed({"config": empty}, "migrate").exit_code == 0
    yield {**found, "empty": empty}
    structlog.reset_defaults()


def _stuck(site: Bench, node: str) -> str:
    def fail(name: str, _: object) -> None:
        if name in ("point", "clear"):
            raise PermanentError("disk-full", "no space for scripts", todo="Make room.")

    site.boot.before = fail
    one = site.command("node.map", project="p1", node=node, image="debian")
    site.settle()
    site.boot.before = None
    assert site.find(one.id).phase is Phase.STUCK
    return one.id


def _settings(folder: Path) -> str:
    """Of drivers in memory, with the bench's database."""
    (folder / "key").write_text("k" * 32)
    sections = "".join(f'[{name}]\ndriver = "memory"\n' for name in ("storage", "target", "seed", "boot", "images"))
    file = folder / "bmid.toml"
    file.write_text(f'{sections}staging_folder = "{folder}/s"\n[chap]\nsite_key_file = "{folder}/key"\n'
                    f'[database]\nurl = "sqlite:///{folder}/bmid.db"\n[power]\ndrivers = ["memory"]\n'
                    f'[head]\nname = "h1"\nstate_folder = "{folder}"\n'
                    f'[broker]\nurl = "amqp://bmid@127.0.0.1:1/bmi"\n')  # fmt: skip
    return str(file)


@pytest.mark.parametrize("name", TYPED)
def test_what_it_says_to_programs_is_json(words: dict[str, str], name: str) -> None:
    """On standard output, and nothing else there; a command that does something succeeds."""
    there = {**words, "config": words["empty"]} if name in ("rebuild", "restore") else words
    done = typed(there, f"{TYPED[name]} -o json")
    assert json.loads(done.stdout) is not None, done.output
    assert done.exit_code == 0 or name in ("check", "fsck", "head drain"), done.output


def typed(words: dict[str, str], line: str) -> Result:
    """What comes of it."""
    return CliRunner().invoke(main, ["--config", words["config"], *line.format(**words).split()])
