"""Where a service keeps what can't lie just anywhere: short paths for sockets, secrets, remembered settings.

No process is started here.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

from lab.process import LabError

_SOCKET_PATH_LIMIT = 107  # sun_path of unix(7) is 108 bytes with its closing zero


def short_name(folder: Path) -> Path:
    """Where the short folder of `folder` is or would be."""
    digest = hashlib.sha256(os.fsencode(folder.absolute())).hexdigest()[:12]
    return Path(f"/tmp/bmi-lab-{os.getuid()}-{digest}")  # noqa: S108 - ours by the checks of short_folder


def short_folder(folder: Path) -> Path:
    """A folder of ours with a short path, always the same for `folder`, which all users may pass through.

    For sockets, whose paths are limited, and for services that may not enter a checkout below /root.
    Raises LabError if somebody else holds the name. `drop_short_folder` removes it.
    """
    short = short_name(folder)
    try:
        short.mkdir(mode=0o711)
    except FileExistsError:
        found = short.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise LabError(f"{short} is in the way: it isn't a folder of ours") from None
    short.chmod(0o711)  # whatever the umask is
    return short


def drop_short_folder(folder: Path) -> None:
    """Remove the short folder of `folder` with all that is in it, if there is one."""
    shutil.rmtree(short_name(folder), ignore_errors=True)


def socket_path(folder: Path, name: str) -> Path:
    """`folder`/`name` where that is short enough for a socket, else a place in `short_folder(folder)`."""
    path = folder.absolute() / name
    return path if len(os.fsencode(path)) <= _SOCKET_PATH_LIMIT else short_name(folder) / name


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    new.rename(path)


def remember(path: Path, fresh: dict[str, Any]) -> dict[str, Any]:
    """The values that `path` holds; where it doesn't exist, `fresh`, written to it for our eyes only."""
    if not path.exists():
        write_private(path, json.dumps(fresh, indent=1))
    values: dict[str, Any] = json.loads(path.read_text())
    return values
