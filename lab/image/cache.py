"""Images built once: kept in a folder under a name that changes whenever what goes into them does."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path


def recipe_name(kind: str, sources: Iterable[Path], text: str) -> str:
    """A file name such as tiny-0123456789abcdef.raw, from the contents of `sources` and from `text`."""
    digest = hashlib.sha256(text.encode())
    for source in sources:
        digest.update(source.read_bytes())
    return f"{kind}-{digest.hexdigest()[:16]}.raw"


def build_once(path: Path, assemble: Callable[[Path], Path]) -> Path:
    """`path`, made by `assemble` (given an empty folder, it returns the finished file) if it is not there yet.

    Others who want the same image at the same time wait for it. Raises what `assemble` raises.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            with tempfile.TemporaryDirectory(dir=path.parent, prefix=f"{path.stem}-") as folder:
                work = Path(folder)
                work.chmod(0o755)  # apt's unprivileged user works inside
                os.replace(assemble(work), path)
    return path
