"""systemd/bmid.toml has every setting with its default, and loads as it stands and with every setting taken in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from pydantic import BaseModel

from bmid.reference.setting import EXAMPLES, settings_file
from bmid.settings import Settings
from bmid.settings_file import load

FILE = Path(__file__).parents[2] / "systemd/bmid.toml"


def test_the_file_is_what_the_settings_give() -> None:
    """Whoever changes a setting runs `bmid settings > systemd/bmid.toml`."""
    assert FILE.read_text() == settings_file(), "run: bmid settings > systemd/bmid.toml"


def test_the_file_as_it_stands_changes_nothing() -> None:
    """An operator who copies it has the defaults."""
    assert load(FILE) == Settings()


def test_without_any_comment_the_file_still_loads(tmp_path: Path) -> None:
    """Comments are not needed for the file to be valid."""
    bare = tmp_path / "bmid.toml"
    bare.write_text("".join(line for line in FILE.read_text().splitlines(keepends=True) if line[0] != "#"))
    assert load(bare) == Settings()


def test_with_every_setting_taken_in_the_file_loads_and_only_examples_differ_from_the_defaults(tmp_path: Path) -> None:
    """What is shown as a default is the default."""
    full = tmp_path / "bmid.toml"
    full.write_text(re.sub(r"^#(?=[^ \n])", "", FILE.read_text(), flags=re.MULTILINE))
    differing = dict(_differences(load(full), Settings(), ""))
    shard = differing.pop("target.shards")[0]
    assert {name: getattr(shard, name) for name in ("name", "portal_address")} == {
        "name": EXAMPLES["target.shards.name"],
        "portal_address": EXAMPLES["target.shards.portal_address"],
    }
    assert {path: str(value) for path, value in differing.items()} == {
        path: value for path, value in EXAMPLES.items() if not path.startswith("target.shards.") and path in differing
    }
    assert {path for path in EXAMPLES if not path.startswith("target.shards.")} - {"head.name"} <= set(differing)


def test_every_setting_says_what_it_is_for() -> None:
    """No setting is without a description."""
    assert [path for path, text in _descriptions(Settings, "") if not text] == []


def _differences(one: BaseModel, other: BaseModel, prefix: str) -> Iterator[tuple[str, object]]:
    for name in type(one).model_fields:
        mine, its = getattr(one, name), getattr(other, name)
        if isinstance(mine, BaseModel):
            yield from _differences(mine, its, f"{prefix}{name}.")
        elif mine != its:
            yield f"{prefix}{name}", mine


def _descriptions(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str | None]]:
    for name, field in model.model_fields.items():
        kinds = [one for one in (field.annotation, *get_args(field.annotation)) if isinstance(one, type)]
        below = next((kind for kind in kinds if issubclass(kind, BaseModel)), None)
        if below:
            yield from _descriptions(below, f"{prefix}{name}.")
            yield f"{prefix}{name}", below.__doc__
        else:
            yield f"{prefix}{name}", field.description
