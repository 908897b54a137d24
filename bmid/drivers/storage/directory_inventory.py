"""What is in a folder that is a storage: images, disks with their snapshots, trash, and what somebody else put there.

How the files come and go is the driver's matter.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bmid.drivers.base import Stored
from bmid.drivers.storage.directory_file import read_json, translated

__all__ = ["inventory"]

_OURS = {"images", "disks", "snapshots", "trash", "lost+found"}


def inventory(folder: Path, metadata: bool) -> Iterator[Stored]:
    """As the port says."""
    with translated():
        found = [("image", path.stem, path) for path in (folder / "images").glob("*.raw")]
        found += [("disk", path.stem, path) for path in (folder / "disks").glob("*.raw")]
        found += [("trash", path.stem.partition("-")[2], path) for path in (folder / "trash").glob("*-*.raw")]
        strangers = sorted({path.name for path in folder.iterdir()} - _OURS)
    for kind, identity, path in found:
        value = read_json(path.with_suffix(".json")).get("metadata") if metadata else None
        frozen = (folder / "snapshots").glob(f"{identity}@*") if metadata and kind == "disk" else ()
        snapshots = tuple(sorted(one.stem.partition("@")[2] for one in frozen))
        size = path.stat().st_size if metadata else 0
        yield Stored(kind, identity, value if isinstance(value, dict) else {}, snapshots, size)
    for name in strangers:
        yield Stored("stranger", name)
