"""A network namespace whose only way out loses packets: iptables throws them away by lot, in both directions."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["Lossy", "lossy"]


@dataclass(frozen=True)
class Lossy:
    """`outside` is this machine's address on the way that loses."""

    namespace: str
    outside: str

    def dropped(self) -> int:
        """How many packets were lost so far."""
        shown = _run("ip", "netns", "exec", self.namespace, "iptables", "-L", "-v", "-x", "-n")
        return sum(int(count) for count in re.findall(r"^\s*(\d+)\s+\d+ DROP", shown, re.MULTILINE))


@contextmanager
def lossy(share: float) -> Iterator[Lossy]:
    """`share` of the packets is lost each way. The namespace goes in any case; who lives in it must have ended."""
    mark = secrets.token_hex(3)
    name, link, net = f"bmi-lossy-{mark}", f"bl{mark}", f"10.79.{os.getpid() % 250 + 1}"
    inside = ("ip", "netns", "exec", name)
    _run("ip", "netns", "add", name)
    try:
        _run("ip", "link", "add", link, "type", "veth", "peer", "name", "way0", "netns", name)
        _run("ip", "addr", "add", f"{net}.1/24", "dev", link)
        _run("ip", "link", "set", link, "up")
        _run(*inside, "ip", "link", "set", "lo", "up")
        _run(*inside, "ip", "addr", "add", f"{net}.2/24", "dev", "way0")
        _run(*inside, "ip", "link", "set", "way0", "up")
        for chain, direction in (("INPUT", "-i"), ("OUTPUT", "-o")):
            lot = ("-m", "statistic", "--mode", "random", "--probability", str(share), "-j", "DROP")
            _run(*inside, "iptables", "-A", chain, direction, "way0", *lot)
        yield Lossy(name, f"{net}.1")
    finally:
        subprocess.run(["ip", "link", "del", link], capture_output=True, check=False)
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout
