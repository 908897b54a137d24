"""The documents say what is there: files, commands with their options, and the example of a command."""

from __future__ import annotations

import re
import shlex
from configparser import ConfigParser
from pathlib import Path

import click
import pytest

from bmi_publish.cli import root as bmi_publish
from bmid.cli.main import main as bmid
from lab.cli import main as lab

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("bmi-publish/*.md")])
PROGRAMS: dict[str, click.Command] = {"bmid": bmid, "bmi-publish": bmi_publish, "script/lab": lab}
COMMAND = re.compile(r"^(?:\$ )?((?:\S*/)?(?:bmid|bmi-publish)|script/\w+) .*$", re.MULTILINE)

by_name = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


@by_name
def test_links_lead_to_files_and_headings_that_are_there(document: Path) -> None:
    """Whoever follows a link finds something."""
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", document.read_text()):
        file = document.parent / target if target else document
        assert file.exists(), target
        if anchor:
            assert anchor in _anchors(file), f"{target}#{anchor}"


@by_name
def test_commands_in_the_text_exist_with_their_options(document: Path) -> None:
    """What is shown to be typed can be typed."""
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL):
        if language not in ("", "sh"):
            continue
        for found in COMMAND.finditer(block.replace("\\\n", " ")):
            words = shlex.split(found.group(), comments=True)
            words = words[1:] if words[0] == "$" else words
            _require_known(words)


def test_the_example_of_a_command_is_the_real_one() -> None:
    """The README shows create_project.py as it is, but for the imports and the event."""
    block = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert block is not None
    real = (ROOT / "bmid/handlers/create_project.py").read_text()
    parts = block.group(1).strip().split("\n\n\n")
    places = [real.find(f"\n{part}\n") for part in parts]
    assert -1 not in places, parts[places.index(-1)]
    assert places == sorted(places)
    left = real
    for part in parts:
        left = left.replace(part, "")
    assert re.findall(r"^(?:class|def) (\w+)", left, re.MULTILINE) == ["ProjectCreated"]


def test_the_entry_points_shown_are_the_real_ones() -> None:
    """The README shows the group of power drivers as setup.cfg has it."""
    block = re.search(r"^bmid\.power =\n(?: +.*\n)+", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert block is not None
    assert block.group() in (ROOT / "setup.cfg").read_text()


def test_every_folder_of_the_table_is_there_and_none_is_missing() -> None:
    """The map of the tree has no white spots."""
    table = (ROOT / "README.md").read_text().partition("## Where things are")[2].partition("\n## ")[0]
    named = {name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(.*?)/`", row)}
    assert {name for name in named if not (ROOT / name).is_dir()} == set()
    packages = {f"bmid/{path.parent.name}" for path in ROOT.glob("bmid/*/__init__.py")}
    assert packages <= named


def test_the_floors_that_are_told_are_those_that_are_enforced() -> None:
    """docs/architecture.md has the layers of setup.cfg, from top to bottom."""
    section = (ROOT / "docs/architecture.md").read_text().partition("## Floors\n")[2]
    block = re.search(r"```\n(.*?)```", section, re.DOTALL)
    assert block is not None
    told = [set(line.split("  ")[0].split(" | ")) for line in block.group(1).splitlines()]
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    layers = config["importlinter:contract:floors"]["layers"].strip().splitlines()
    assert told == [{name.strip().removeprefix("bmid.") for name in line.split("|")} for line in layers]


def _anchors(file: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", line.lower()).strip().replace(" ", "-") for line in headings}


def _require_known(words: list[str]) -> None:
    program, rest = words[0], words[1:]
    if program.startswith("script/"):
        assert (ROOT / program).exists(), program
    command = PROGRAMS.get(program, PROGRAMS.get(Path(program).name))
    if command is None:
        text = (ROOT / program).read_text() + (ROOT / "lab/demo.py").read_text()
        assert [word for word in rest if word.startswith("--") and word != "--" and word not in text] == [], words
        return
    known: set[str] = set()
    while command is not None:
        context = click.Context(command)
        known |= {name for one in command.get_params(context) for name in [*one.opts, *one.secondary_opts]}
        group = command if isinstance(command, click.Group) else None
        names = [word for word in rest if group and not word.startswith("-") and group.get_command(context, word)]
        assert not group or names or not rest, words
        rest = [word for word in rest if word not in names[:1]]
        command = group.get_command(context, names[0]) if group and names else None
    assert [word for word in rest if re.match(r"--|-\w$", word) and word not in known] == [], words
