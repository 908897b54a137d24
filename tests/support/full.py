"""Storage without room: a pool, a file system."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lab.ceph import Ceph
from lab.process import wait_for

__all__ = ["filled", "full", "small"]


@contextmanager
def full(ceph: Ceph) -> Iterator[None]:
    """The cluster holds itself for full, as it does when its disks are: here, because its limits are lowered."""
    ratios = {"nearfull": 0.85, "backfillfull": 0.9, "full": 0.95}
    with ceph.admin() as administrator:

        def pool_is_full() -> bool:
            pools = administrator.command("osd dump")["pools"]
            return any("full" in pool["flags_names"].split(",") for pool in pools)

        try:
            for name in ratios:
                administrator.command(f"osd set-{name}-ratio", ratio=1e-9)
            wait_for(pool_is_full, 60, "a full pool")
            yield
        finally:
            for name in reversed(ratios):
                administrator.command(f"osd set-{name}-ratio", ratio=ratios[name])
            wait_for(lambda: not pool_is_full(), 60, "room in the pool")


@contextmanager
def small(folder: Path, size: str) -> Iterator[None]:
    """The folder is a file system of that size."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)], check=True)
    try:
        yield
    finally:
        # What has ended a moment ago may still be on its way out.
        wait_for(
            lambda: not subprocess.run(["umount", str(folder)], capture_output=True, check=False).returncode,
            30,
            f"{folder} to be let go of",
        )


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """The file system of the folder has no room left."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        for size in (1 << 20, 4096):
            with suppress(OSError):
                while True:
                    file.write(b"x" * size)
    try:
        yield
    finally:
        ballast.unlink()
