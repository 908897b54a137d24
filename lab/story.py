"""What the demonstration shows: machines that run copies of golden images, by messages alone, from nothing to nothing.

Every line that it prints was seen to be so: on the nodes' consoles, by ssh, and with the tools of Ceph and tgt.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab.login import Login
from lab.node import VirtualNode
from lab.process import LabError, wait_for
from lab.site import Site
from lab.together import side_by_side
from lab.trace import Traces, look

__all__ = ["Story"]

PROJECT, IMAGE, SNAPSHOT = "demo", "golden", "grown"
QUICK_KEYS = "#cloud-config\nssh_genkeytypes: [ed25519]\n"  # the other kinds take their time without KVM


class Story:
    """One run in a site with three nodes. `build` gives the golden image, from the cache if it was built before;
    `logs_in`: it is a system that lets in who has the key of the command."""

    def __init__(self, site: Site, build: Callable[[], Path], *, logs_in: bool) -> None:
        self._site = site
        self._build = build
        self._marker, self._boots = ("BMI-DEBIAN", 240) if logs_in else ("BMI-TINY", 150)
        self._login = Login(site.folder / "login") if logs_in else None
        self._begun = time.monotonic()

    def tell(self) -> None:
        """All of it. Raises LabError at the first thing that is not as it should be."""
        side_by_side({"golden image": self._make_image, "lab": self._bring_up})
        self._publish("project", "create", PROJECT, "--wait")
        self._publish("image", "upload", str(self._build()), "--name", IMAGE, "--wait")
        self._require(look(self._site).none, "something is mapped before anything was")
        self._two_copies()
        self._grow()
        self._back_to_nothing()

    def _two_copies(self) -> None:
        if self._login is None:
            self._publish("node", "map", "n[1-2]", "--image", IMAGE, "--booted")
        else:
            # What a new system is told, and makes of it, takes its first boot a while: one of them is enough.
            told = ("--ssh-key", self._login.public_key(), "--user-data", QUICK_KEYS)
            side_by_side({
                "n1": lambda: self._publish("node", "map", "n1", "--image", IMAGE, "--booted"),
                "n2": lambda: self._publish("node", "map", "n2", "--image", IMAGE, "--booted", *told),
            })  # fmt: skip
        said = [self._console(name, found="-") for name in ("n1", "n2")]
        self._require(said[0]["wrote"] != said[1]["wrote"], "both nodes wrote the same")
        for name in ("n1", "n2"):
            self._type(name, f"echo {name} > /only-{name}; sync; echo DONE-$?\n", "DONE-0")
        for name in ("n1", "n2"):
            self._files(name, name)
        self._logged_in("n2")
        found = look(self._site)
        self._require(_two(found), f"not two of each: {found}")
        self._tell(f"there are {found}")

    def _grow(self) -> None:
        """A snapshot of n1 outlives it and runs on n2, while n2's own disk goes on on n3."""
        self._publish("node", "power", "n1", "--action", "off", "--wait")
        self._publish("node", "snapshot", "n1", "--image", SNAPSHOT, "--wait")
        self._publish("node", "unmap", "n1", "--wait")
        [unmapped] = self._publish("node", "unmap", "n2", "--disk", "park", "--wait")
        disk = str(unmapped["data"]["disk"])
        side_by_side({
            "n2": lambda: self._publish("node", "map", "n2", "--image", SNAPSHOT, "--booted"),
            "n3": lambda: self._publish("node", "map", "n3", "--disk", disk, "--booted"),
        })  # fmt: skip
        self._console("n2", host=None)
        self._files("n2", "n1")
        self._console("n3", host="n2")
        self._files("n3", "n2")
        self._logged_in("n3", as_host="n2")

    def _back_to_nothing(self) -> None:
        self._publish("node", "unmap", "n[1-3]", "--wait")
        self._publish("image", "remove", SNAPSHOT, "--wait")
        self._publish("image", "remove", IMAGE, "--wait")
        found = look(self._site)
        self._require(found.none, f"left behind: {found}")
        self._tell(f"nothing is left: {found}")

    def _make_image(self) -> None:
        image = self._build()
        self._tell(f"golden image at hand: {image.name}, {image.stat().st_size >> 20} MiB")

    def _bring_up(self) -> None:
        self._site.up()
        self._tell(f"lab is up: {', '.join(part.name for part in self._site.status())}")

    def _console(self, name: str, host: str | None = "", found: str | None = None) -> dict[str, str]:
        """The node's own words: its name (`host`; empty: the node's), its root device, what it `found` on its disk."""
        node = self._site.node(name)
        line = node.wait_for_console(self._marker, self._boots)
        said = dict(part.split("=", 1) for part in line.split()[1:])
        self._require(host is None or said["host"] == (host or name), f"{name} calls itself {said['host']}")
        self._require(said["root"].startswith("/dev/sd"), f"{name} has its root on {said['root']}")
        self._require(node.machine.disk is None, f"{name} has a disk of its own")
        self._require(said["seen"] == "golden", f"{name} runs something else: {line}")
        self._require(found is None or said["found"] == found, f"{name}'s disk is not fresh: {line}")
        self._tell(f"{name}, {node.machine.firmware}, on its console: {line}")
        return said

    def _files(self, name: str, writer: str) -> None:
        """The node sees the file that was written by `writer`, and no other node's."""
        self._type(name, "echo FILES: $(cat /only-*) in $(echo /only-*)\n")
        line = _answer(self._site.node(name), "FILES: n")
        expected = f"FILES: {writer} in /only-{writer}"
        self._require(line == expected, f"{name} shows {line!r}, not {expected!r}")
        self._tell(f"{name} sees the file that {writer} wrote, and no other: {line}")

    def _type(self, name: str, text: str, answer: str | None = None) -> None:
        node = self._site.node(name)
        if "# " not in node.console_text().rpartition(" login: ")[2]:
            node.log_in()
        node.type(text)
        if answer:
            node.wait_for_console(answer, 20)

    def _logged_in(self, name: str, as_host: str | None = None) -> None:
        """By ssh, with the key of the command; whoever answered there before must be the same machine."""
        if self._login is None:
            return
        [node] = self._ask("node", "show", name)
        said = self._login.run(node["address"], "hostname; cat /var/lib/cloud/data/instance-id").split()
        self._require(said[0] == (as_host or name), f"ssh to {name} finds a host called {said[0]}")
        self._tell(f"ssh debian@{node['address']} on {name}: host {said[0]}, instance {said[1]}")

    def _publish(self, *words: str) -> list[dict[str, Any]]:
        """Run bmi-publish; LabError unless it ends with 0, that is: done, and by --booted seen to have booted."""
        answers = self._ask(*words, "--timeout", f"{self._boots}s")
        shown = " ".join(_shown(word) for word in words)
        self._tell(f"$ bmi-publish {shown}   -> {', '.join(sorted({str(one.get('state')) for one in answers}))}")
        return answers

    def _ask(self, *words: str) -> list[dict[str, Any]]:
        site = self._site
        environment = {
            "BMI_URL": site.url, "BMI_USER": "alice", "BMI_PASSWORD_FILE": str(site.password_file),
            "BMI_PROJECT": PROJECT,
        }  # fmt: skip
        command = [str(Path(sys.executable).parent / "bmi-publish"), *words, "-o", "json"]
        done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
        if done.returncode:
            shown = f"$ bmi-publish {' '.join(_shown(word) for word in words)}"
            raise LabError(f"{shown}\n{done.stdout}{done.stderr}\nbmi-publish ended with {done.returncode}")
        answer = json.loads(done.stdout)
        return answer if isinstance(answer, list) else [answer]

    def _require(self, fine: bool, problem: str) -> None:
        if not fine:
            raise LabError(problem)

    def _tell(self, text: str) -> None:
        print(f"[{time.monotonic() - self._begun:5.1f} s] {text}", flush=True)


def _shown(word: str) -> str:
    """A word of a command line, short enough to be read."""
    if word.startswith(("ssh-", "#")):
        return f"'{word.split(maxsplit=1)[0]} ...'"
    return Path(word).name if word.startswith("/") else word


def _two(found: Traces) -> bool:
    """Two nodes are mapped and run, no more and no less. A session of firmware may still be listed for 3 s."""
    pairs = (found.clones, found.targets, found.scripts, found.dhcp_entries, found.powered)
    return all(len(pair) == 2 for pair in pairs) and len(found.sessions) >= 2


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
