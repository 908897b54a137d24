"""The trash of a folder that is a storage: KIND-ID.raw, and KIND-ID.json with what was said of it.

Moves are renames, and the file of bytes is what counts: what is said lies beside it before it comes, and goes after it.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from bmid.drivers.base import TrashEntry
from bmid.drivers.base.advice import UNTRASHED
from bmid.drivers.storage.directory_file import read_json, write_json
from bmid.drivers.storage.sparse import sync_folder
from bmid.errors import PermanentError

__all__ = ["entries", "fetch", "purge", "throw"]


def entries(trash: Path) -> Sequence[TrashEntry]:
    """All, the oldest first: a rename sets the time of change. Raises OSError, as all here do."""
    found = sorted((path.stat().st_ctime, path.stem) for path in trash.glob("*-*.raw"))
    parts = [(datetime.fromtimestamp(when, UTC), *stem.partition("-")) for when, stem in found]
    return [TrashEntry(kind, one, f"{kind}-{one}", removed_at=when) for when, kind, _, one in parts]


def throw(trash: Path, kind: str, path: Path) -> None:
    """Into the trash: the bytes last, because by them all the rest is found."""
    gone = _place(trash, kind, path)
    path.with_suffix(".raw.new").unlink(missing_ok=True)
    if path.exists():
        with suppress(FileNotFoundError):
            shutil.copyfile(path.with_suffix(".json"), gone.with_suffix(".json"))
        path.rename(gone)
    path.with_suffix(".json").unlink(missing_ok=True)
    sync_folder(path.parent)


def fetch(trash: Path, kind: str, path: Path) -> None:
    """Ensure that it is out of the trash. PermanentError `trash-missing`; also for what was never finished."""
    gone, told = _place(trash, kind, path), path.with_suffix(".json")
    if gone.exists() and (said := read_json(gone.with_suffix(".json"))):
        write_json(told, said)
        gone.rename(path)
        sync_folder(path.parent)
    if not (path.exists() and told.exists()):
        raise PermanentError(
            "trash-missing", f"{kind} {path.stem} is not whole in the trash of {trash.parent}", todo=UNTRASHED
        )
    gone.with_suffix(".json").unlink(missing_ok=True)


def purge(trash: Path, key: str) -> bool:
    """An entry is gone for good."""
    path = trash / f"{key}.raw"
    path.with_suffix(".json").unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    return not path.exists()


def _place(trash: Path, kind: str, path: Path) -> Path:
    return trash / f"{kind}-{path.name}"
