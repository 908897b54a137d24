"""`script/bench boot`: power-on to node.booted of a mapped node, against a boot of the same disk set up by hand.

Both start at the same moment, when the node's machine is given its power (its QEMU's pid file), and end at the same
evidence: sessions at the target which show that the operating system has logged in, written and reads on. By hand it is
looked for ten times a second; by bmid it counts when the event has arrived at the publisher.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.bench import PROJECT, keep, median
from benchmarks.byhand import ByHand
from bmi_publish import Client
from bmi_publish.boot import BOOTED
from bmid.handlers.create_project import CreateProject
from bmid.handlers.import_image import ImageSource, ImportImage
from bmid.handlers.map_node import MapNode
from bmid.handlers.show_image import ShowImage
from bmid.handlers.unmap_node import UnmapNode
from bmid.messages.base import Command
from lab.image.tiny import TinyImage
from lab.layout import Layout
from lab.process import LabError
from lab.site import Site

__all__ = ["main"]

ROOT = Path(__file__).parent.parent
IMAGE = "golden"


def main() -> None:
    """Measure, print, write .lab/bench-boot.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=ROOT / ".lab/bench-boot")
    parser.add_argument("--rounds", type=int, default=5, help="boots of each kind on each node")
    parser.add_argument("--out", type=Path, default=ROOT / ".lab/bench-boot.json")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is stopped
    image = TinyImage(ROOT / ".cache").build()
    site = Site(options.folder, Layout(nodes=2, local_disk_every=0))
    site.down()
    try:
        site.up()
        figures = measure(site, image, options.rounds)
    finally:
        site.down()
    keep(figures, options.out)


def measure(site: Site, image: Path, rounds: int) -> dict[str, Any]:
    """Seconds of each boot, medians, and their ratios. The ratio over both is of the sums of the medians."""
    before = os.getloadavg()
    figures: dict[str, Any] = {"rounds": rounds}
    with site.client() as client:
        by_hand = ByHand(site, f"image-{_imported(site, client, image)}")
        times: dict[str, dict[str, list[float]]] = {
            site.node(name).machine.firmware: {"bmid": [], "by_hand": []} for name in site.layout.names
        }
        for turn in range(rounds):
            for number, name in enumerate(site.layout.names, start=1):
                found = times[site.node(name).machine.firmware]
                # In turns, each kind first as often as the other, so that whatever else runs hits both alike.
                for kind in ("by_hand", "bmid") if turn % 2 else ("bmid", "by_hand"):
                    seconds = by_hand.boot(name, number) if kind == "by_hand" else _mapped(site, client, name)
                    found[kind].append(round(seconds, 2))
                    print(f"round {turn + 1}, {name}, {kind}: {seconds:.2f} s", flush=True)
    for firmware, found in times.items():
        p50 = {kind: median(values) for kind, values in found.items()}
        figures[firmware] = {
            "ratio": round(p50["bmid"] / p50["by_hand"], 3),
            **{f"{kind}_p50_s": p50[kind] for kind in found},
            **{f"{kind}_s": values for kind, values in found.items()},
        }
    whole = {kind: sum(figures[firmware][f"{kind}_p50_s"] for firmware in times) for kind in ("bmid", "by_hand")}
    figures["ratio"] = round(whole["bmid"] / whole["by_hand"], 3)
    figures["load"] = [round(before[0], 1), round(os.getloadavg()[0], 1)]
    return figures


def _imported(site: Site, client: Client, image: Path) -> str:
    """Import the image; its id."""
    target = site.bmid.imports / image.name
    target.write_bytes(image.read_bytes())
    _done(client, CreateProject(project=PROJECT))
    _done(client, ImportImage(project=PROJECT, image=IMAGE, source=ImageSource(file=image.name)))
    return str(client.query(ShowImage(project=PROJECT, image=IMAGE))["image"]["id"])


def _mapped(site: Site, client: Client, name: str) -> float:
    """Map the node, wait for node.booted, and unmap it; the seconds since its power-on."""
    result = client.wait(client.ticket(MapNode(project=PROJECT, node=name, image=IMAGE)), timeout=240, until=BOOTED)
    seconds = time.time() - site.node(name).process.pid_file.stat().st_mtime
    if not result.ok:
        raise LabError(f"{name}: {result.state} {result.problem}")
    _done(client, UnmapNode(project=PROJECT, node=name))
    return seconds


def _done(client: Client, command: Command) -> None:
    result = client.wait(client.ticket(command), timeout=120)
    if not result.ok:
        raise LabError(f"{command.type}: {result.state} {result.problem}")


if __name__ == "__main__":
    main()
