"""Runs the demonstration in a lab of its own, and takes the lab down however it ends.

    python -m lab.demo [--debian] [--storage directory]

What is shown is lab/story.py's matter, what makes up a lab lab/site.py's.
"""

from __future__ import annotations

import argparse
import fcntl
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.image.debian import DebianImage
from lab.image.tiny import TinyImage
from lab.layout import Layout
from lab.process import LabError
from lab.site import Site
from lab.story import Story

__all__ = ["main"]

ROOT = Path(__file__).parent.parent


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One demonstration at a time in a folder."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LabError("another demonstration is running in this folder") from None
        yield


def _run(site: Site, story: Story) -> None:
    """Run it, and end the lab in any case; its logs stay when it failed."""
    site.down()  # what a killed one left behind
    failed = True
    try:
        story.tell()
        failed = False
    finally:
        # A second Ctrl-C must not stop the cleaning up.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        site.down(keep=failed)
        if failed:
            print(f"the lab has been stopped; its logs stay in {site.folder}", file=sys.stderr)


def main() -> int:
    """The exit code: 0 if everything was seen."""
    parser = argparse.ArgumentParser(prog="script/demo", description="Three machines, one golden image, by messages.")
    parser.add_argument("--debian", action="store_true", help="a real Debian 12 (built once) instead of the tiny image")
    parser.add_argument("--storage", choices=["rbd", "directory"], default="rbd", help="directory: without Ceph")
    parser.add_argument("--folder", type=Path, default=ROOT / ".lab/demo", help="where the lab is made, and removed")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    maker = DebianImage(ROOT / ".cache") if options.debian else TinyImage(ROOT / ".cache")
    layout = Layout(nodes=3, storage=options.storage, memory=1024 if options.debian else 512, local_disk_every=0)
    site = Site(options.folder, layout)
    begun = time.monotonic()
    try:
        with _alone(site.folder):
            _run(site, Story(site, maker.build, logs_in=options.debian))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (LabError, OSError, subprocess.SubprocessError) as error:
        print(f"failed: {error}\n{getattr(error, 'stderr', None) or ''}", file=sys.stderr)
        return 1
    print(f"[{time.monotonic() - begun:5.1f} s] all of it was seen, and the lab is gone")
    return 0


if __name__ == "__main__":
    sys.exit(main())
