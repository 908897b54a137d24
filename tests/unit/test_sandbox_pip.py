"""What pip installs is the whole program: a sandbox is started from it, not from a clone."""

from __future__ import annotations

from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("folder", [ROOT / "bmid", ROOT / "bmi-publish/bmi_publish"], ids=lambda path: path.name)
def test_every_file_of_a_package_is_installed(folder: Path) -> None:
    """Modules of packages are; other files, and folders that are no packages, where setup.cfg names them."""
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    named: set[Path] = set()
    for name, patterns in setup["options.package_data"].items():
        base = ROOT / name.replace(".", "/")
        named |= {path for pattern in patterns.split() for path in base.glob(pattern)}
    files = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert len(files) > 20
    modules = {path for path in files if path.suffix == ".py" and (path.parent / "__init__.py").exists()}
    assert sorted(set(files) - modules - named) == []
