"""Files of a folder that is a storage: small values in JSON, and what the operating system's errors mean.

What the files are is the driver's matter.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bmid.drivers.storage.sparse import sync_folder
from bmid.errors import BmiError, PermanentError, TransientError

__all__ = ["read_json", "translated", "unsupported", "write_json"]

_FREE_SPACE = "Free space on this file system; remove disks and images that nobody needs."
_REACH = "See whether the folder that the settings name is there, and whether bmid may write to it."


def write_json(path: Path, value: Mapping[str, object]) -> None:
    """A file that is there with all of its text or, after whatever crash, as it was before."""
    new = path.with_name(path.name + ".new")
    with new.open("w") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync_folder(path.parent)


def read_json(path: Path) -> Mapping[str, object]:
    """The JSON object in a file; empty where there is none."""
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


@contextmanager
def translated() -> Iterator[None]:
    """The meaning of the operating system's errors for the engine."""
    try:
        yield
    except OSError as error:
        raise _meaning(error) from error


def _meaning(error: OSError) -> BmiError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return TransientError("pool-full", f"the storage folder is full ({error})", todo=_FREE_SPACE)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return TransientError("storage-denied", f"the storage folder can't be written ({error})", todo=_REACH)
    if error.errno == errno.ENOENT:
        return TransientError("storage-down", f"something is missing in the storage folder ({error})", todo=_REACH)
    return TransientError("storage-error", f"the storage folder failed ({error})", todo=_REACH)


def unsupported() -> PermanentError:
    """What a folder says of pools."""
    todo = "Import from a file, or export to one; or let the site's storage be a Ceph pool."
    return PermanentError("pools-unsupported", "this site's storage is a folder: it knows no pools", todo=todo)
