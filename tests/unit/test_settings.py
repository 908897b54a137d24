"""The settings file: what is wrong is told with file, line, key and the nearest name; the environment wins."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from bmid.errors import Misconfigured
from bmid.settings import Settings
from bmid.settings_file import load


def write(folder: Path, text: str) -> Path:
    path = folder / "bmid.toml"
    path.write_text(text)
    return path


SHARD = '[[target.shards]]\nname = "0"\nsocket = "/run/tgtd.socket"\nportal_address = "10.77.0.1"\n'
BROKEN = [
    ("\n[storge]\ndriver = 'rbd'\n", 2, "storge", "storage"),
    ("[engine]\nworkrs = 4\n", 2, "engine.workrs", "workers"),
    ("[engine]\n# a comment\n\nworkers = 'many'\n", 4, "engine.workers", "integer"),
    ("[engine]\nworkers = 0\n", 2, "engine.workers", "greater than or equal to 1"),
    ("[storage]\n[storage.rbd]\npol = 'x'\n", 3, "storage.rbd.pol", "pool"),
    ("[storage.rbd]\ntimeout = 1.5\n", 2, "storage.rbd.timeout", "integer"),
    ("[network]\nsubnet = '10.77.0.1/24'\n", 2, "network.subnet", "valid IPv4 network"),
    ("[network]\nfirst = '10.77.0.999'\n", 2, "network.first", "IPv4"),
    ("[network]\nname = 'Boot Net'\n", 2, "network.name", "pattern"),
    ("[boot]\ndhcp = 'mine'\n", 2, "boot.dhcp", "'own' or 'external'"),
    ("[boot]\ndeadline = -1\n", 2, "boot.deadline", "greater than 0"),
    ("[target]\niqn_prefix = 'iqn.bad'\n", 2, "target.iqn_prefix", "pattern"),
    (SHARD + "portal_prt = 3260\n", 5, "target.shards.0.portal_prt", "portal_port"),
    (SHARD + "portal_port = 99999\n", 5, "target.shards.0.portal_port", "65535"),
    ("[[target.shards]]\nname = '0'\n", 1, "target.shards.0.socket", "required"),
    ("[log]\nlevel = 'loud'\n", 2, "log.level", "'debug'"),
    ("[head]\nname = 'Head_1'\n", 2, "head.name", "pattern"),
    ("zzz = 3\n", 1, "zzz", "there are"),
]


@pytest.mark.parametrize(("text", "line", "key", "hint"), BROKEN, ids=[one[2] for one in BROKEN])
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, text: str, line: int, key: str, hint: str) -> None:
    """File, line, key, and what would be right."""
    path = write(tmp_path, text)
    with pytest.raises(Misconfigured) as caught:
        load(path)
    told = str(caught.value).splitlines()
    assert any(one.startswith(f"{path}:{line}: {key}: ") and hint in one for one in told), told


@pytest.mark.parametrize(
    ("content", "hint"),
    [(b"[engine\nworkers = 1", "line 1"), (b"a = 1\na = 2\n", "line 2"), (b"x = '\xff'", "UTF-8")],
    ids=["syntax", "twice", "encoding"],
)
def test_what_is_no_toml_is_told_with_its_line(tmp_path: Path, content: bytes, hint: str) -> None:
    """Before anything is made of it."""
    path = tmp_path / "bmid.toml"
    path.write_bytes(content)
    with pytest.raises(Misconfigured) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert hint in str(caught.value)


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    """A line for each."""
    path = write(tmp_path, "[engine]\nworkers = 0\nleas = 1\n[log]\nlevel = 'x'\n")
    with pytest.raises(Misconfigured) as caught:
        load(path)
    assert len(str(caught.value).splitlines()) == 3


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """By its name."""
    with pytest.raises(Misconfigured, match=r"nothing\.toml"):
        load(tmp_path / "nothing.toml")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[network]\nsubnet = '10.77.0.0/24'\nfirst = '10.78.0.10'\n", "first"),
        ("[network]\nsubnet = '10.77.0.0/24'\nlast = '10.78.0.10'\n", "last"),
        ("[network]\nfirst = '10.77.0.100'\nlast = '10.77.0.50'\n", "last"),
        (SHARD + SHARD, "name"),
        (SHARD.replace("10.77.0.1", "10.77.0.20"), "portal"),
    ],
)
def test_values_that_contradict_each_other_are_told(tmp_path: Path, text: str, key: str) -> None:
    """Addresses outside of the subnet, a range that ends before it begins, two shards of one name, a portal in the
    range that nodes get their addresses from."""
    with pytest.raises(Misconfigured, match=key):
        load(write(tmp_path, text))


def test_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One key of a table; the others stay as the file has them."""
    monkeypatch.setenv("BMID_ENGINE__WORKERS", "5")
    monkeypatch.setenv("BMID_LOG__LEVEL", "debug")
    settings = load(write(tmp_path, "[engine]\nworkers = 3\nclaim_lease = 10\n"))
    assert (settings.engine.workers, settings.engine.claim_lease, settings.log.level) == (5, 10.0, "debug")


def test_an_environment_that_is_wrong_is_told_by_its_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is not blamed for it."""
    monkeypatch.setenv("BMID_ENGINE__WORKERS", "many")
    with pytest.raises(Misconfigured, match="BMID_ENGINE__WORKERS"):
        load(write(tmp_path, "[engine]\nclaim_lease = 10\n"))


def test_an_empty_file_gives_a_working_default(tmp_path: Path) -> None:
    """SQLite, a folder, one network."""
    settings = load(write(tmp_path, ""))
    assert settings.database.url.startswith("sqlite:///")
    assert settings.storage.driver == "directory"


PLAIN = ("name", "url", "conf", "user", "pool", "driver", "folder", "port", "listen", "subnet", "level", "format")


def sections(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from sections(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def test_every_number_says_its_unit_and_why() -> None:
    """What is not plain from its name has a description."""
    bare = [key for key, field in sections(Settings) if field.annotation in (int, float) and not field.description]
    assert [key for key in bare if key.rpartition(".")[2] not in PLAIN] == []


def test_no_setting_holds_a_secret() -> None:
    """Only files do: a key named after a secret is a path."""
    for key, field in sections(Settings):
        last = key.rpartition(".")[2]
        if any(word in last for word in ("password", "secret", "token", "site_key", "credential")):
            assert "Path" in str(field.annotation), key
