"""The demonstration: from nothing to two machines that run their own copies of a golden image, and back to nothing.

    python -m lab.demo [--debian] [--storage directory]

Every line that it prints was seen to be so: on the nodes' consoles, and with the tools of Ceph and tgt. What makes up
a lab is lab/site.py; everything that happens to the nodes here is asked for by messages, with bmi-publish.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab.image.debian import DebianImage
from lab.image.tiny import TinyImage
from lab.layout import Layout
from lab.node import VirtualNode
from lab.process import LabError, wait_for
from lab.site import Site
from lab.together import side_by_side
from lab.trace import Traces, look

__all__ = ["Demonstration", "main"]

ROOT = Path(__file__).parent.parent
NODES = "n[1-2]"
PROJECT, IMAGE = "demo", "golden"


class Demonstration:
    """One run. `build` gives the golden image, from the cache if it was built before; `boots` is how many seconds two
    nodes may take until their systems are up."""

    def __init__(self, site: Site, build: Callable[[], Path], marker: str, boots: int) -> None:
        self._site = site
        self._build = build
        self._marker = marker
        self._boots = boots
        self._begun = time.monotonic()

    def run(self) -> None:
        """All of it. Raises LabError at the first thing that is not as it should be."""
        side_by_side({"golden image": self._make_image, "lab": self._bring_up})
        image = self._build()
        self._publish("project", "create", PROJECT, "--wait")
        self._publish("image", "upload", str(image), "--name", IMAGE, "--wait")
        self._require(look(self._site).none, "something is mapped before anything was")

        self._publish("node", "map", NODES, "--image", IMAGE, "--booted")
        self._show_consoles()
        self._show_files()
        found = look(self._site)
        self._require(_whole(found), f"not two of each: {found}")
        self._tell(f"there are {found}")

        self._publish("node", "unmap", NODES, "--wait")
        found = look(self._site)
        self._require(found.none, f"left behind: {found}")
        self._tell(f"nothing is left: {found}")

    def _make_image(self) -> None:
        image = self._build()
        self._tell(f"golden image at hand: {image.name}, {image.stat().st_size >> 20} MiB")

    def _bring_up(self) -> None:
        self._site.up()
        self._tell(f"lab is up: {', '.join(part.name for part in self._site.status())}")

    def _show_consoles(self) -> None:
        """Each node's own words: its name, its root device, whether its disk was fresh, what it wrote."""
        written = set()
        for node in self._nodes():
            line = node.wait_for_console(self._marker, self._boots)
            said = dict(part.split("=", 1) for part in line.split()[1:])
            self._require(said["host"] == node.name, f"{node.name} calls itself {said['host']}")
            self._require(said["root"].startswith("/dev/sd"), f"{node.name} has its root on {said['root']}")
            self._require(node.machine.disk is None, f"{node.name} has a disk of its own")
            self._require((said["seen"], said["found"]) == ("golden", "-"), f"{node.name}'s disk is not fresh: {line}")
            written.add(said["wrote"])
            self._tell(f"{node.name}, {node.machine.firmware}, on its console: {line}")
        self._require(len(written) == 2, "both nodes wrote the same")

    def _show_files(self) -> None:
        """Each node writes a file; then each lists what it sees."""
        for node in self._nodes():
            node.log_in()
            node.type(f"echo {node.name} > /only-{node.name}; sync; echo DONE-$?\n")
        for node in self._nodes():
            node.wait_for_console("DONE-0", 20)
        for node in self._nodes():
            node.type("echo FILES: $(cat /only-*) in $(echo /only-*)\n")
            line = _answer(node, "FILES: n")
            expected = f"FILES: {node.name} in /only-{node.name}"
            self._require(line == expected, f"{node.name} shows {line!r}, not {expected!r}")
            self._tell(f"{node.name} sees the file that it wrote, and not the other's: {line}")

    def _nodes(self) -> Iterator[VirtualNode]:
        return (self._site.node(name) for name in self._site.layout.names)

    def _publish(self, *words: str) -> None:
        """Run bmi-publish; LabError unless it ends with 0, that is: done, and by --booted seen to have booted."""
        site = self._site
        environment = {
            "BMI_URL": site.url,
            "BMI_USER": "alice",
            "BMI_PASSWORD_FILE": str(site.password_file),
            "BMI_PROJECT": PROJECT,
        }
        command = [
            str(Path(sys.executable).parent / "bmi-publish"),
            *words,
            "--timeout",
            f"{self._boots}s",
            "-o",
            "json",
        ]
        done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
        shown = f"$ bmi-publish {' '.join(Path(word).name if '/' in word else word for word in words)}"
        if done.returncode:
            raise LabError(f"{shown}\n{done.stdout}{done.stderr}\nbmi-publish ended with {done.returncode}")
        self._tell(f"{shown}   -> {_outcome(json.loads(done.stdout))}")

    def _require(self, fine: bool, problem: str) -> None:
        if not fine:
            raise LabError(problem)

    def _tell(self, text: str) -> None:
        print(f"[{time.monotonic() - self._begun:5.1f} s] {text}", flush=True)


def _whole(found: Traces) -> bool:
    """Two nodes are mapped and run, no more and no less. A session of firmware may still be listed for 3 s."""
    pairs = (found.clones, found.targets, found.scripts, found.dhcp_entries, found.powered)
    return all(len(pair) == 2 for pair in pairs) and len(found.sessions) >= 2


def _outcome(answer: Any) -> str:
    records = answer if isinstance(answer, list) else [answer]
    return ", ".join(sorted({str(record.get("state")) for record in records}))


def _answer(node: VirtualNode, text: str) -> str:
    """The line that begins with `text`, free of what a shell's prompt puts around it."""
    found: list[str] = []

    def seen() -> bool:
        shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", node.console_text()).replace("\r", "\n")
        found[:] = [
            line.strip() for line in shown.splitlines(keepends=True) if line.startswith(text) and line[-1] == "\n"
        ]
        return bool(found)

    wait_for(seen, 20, f"node {node.name}: {text!r} on its console")
    return found[-1]


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


def _run(site: Site, demonstration: Demonstration) -> None:
    """Run it, and end the lab in any case; its logs stay when it failed."""
    site.down()  # what a killed one left behind
    failed = True
    try:
        demonstration.run()
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
    parser = argparse.ArgumentParser(prog="script/demo", description="Two machines, one golden image, by messages.")
    parser.add_argument("--debian", action="store_true", help="a real Debian 12 (built once) instead of the tiny image")
    parser.add_argument("--storage", choices=["rbd", "directory"], default="rbd", help="directory: without Ceph")
    parser.add_argument("--folder", type=Path, default=ROOT / ".lab/demo", help="where the lab is made, and removed")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    maker = DebianImage(ROOT / ".cache") if options.debian else TinyImage(ROOT / ".cache")
    layout = Layout(storage=options.storage, memory=1024 if options.debian else 512)
    site = Site(options.folder, layout)
    marker, boots = ("BMI-DEBIAN", 240) if options.debian else ("BMI-TINY", 150)
    begun = time.monotonic()
    try:
        with _alone(site.folder):
            _run(site, Demonstration(site, maker.build, marker, boots))
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
