"""The other side of a boot driver: what a node at an address is given, by a twin and by a real dnsmasq."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from bmid.drivers.base import Boot, BootEntry
from bmid.drivers.boot.ipxe import IpxeBoot
from bmid.drivers.boot.memory import MemoryBoot
from bmid.drivers.boot.script import DARK
from bmid.model.entity import Firmware
from lab.dnsmasq import LOADERS, Dnsmasq
from lab.network import Network

SECRET = "ABCDEFGHIJKLMNOP"


class Peer(Protocol):
    """A boot driver, and what a node at an address is given."""

    boot: Boot

    def entry(self, number: int = 1, **changes: object) -> BootEntry: ...
    def script(self, address: str) -> str | None: ...


class MemoryPeer:
    def __init__(self) -> None:
        self.boot = MemoryBoot()

    def entry(self, number: int = 1, **changes: object) -> BootEntry:
        return _entry(number, f"10.77.0.{10 + number}", "10.77.0.1", changes)

    def script(self, address: str) -> str | None:
        entry = self.boot.entries.get(address)
        return f"set password {entry.secret}\nsanboot {entry.iqn}" if entry else DARK


class IpxePeer:
    """Files that the lab's dnsmasq serves, with clients in the namespace of the nodes."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        folder.chmod(0o755)
        self.network = Network(folder)
        stack.callback(self.network.down)
        self.network.up()
        self.dnsmasq = Dnsmasq(folder, self.network)
        stack.callback(self.dnsmasq.stop)
        self.dnsmasq.start()
        self.boot = self.driver("own")

    def driver(self, dhcp: str) -> IpxeBoot:
        return IpxeBoot(
            self.dnsmasq.tftp,
            self.dnsmasq.hosts,
            {path.name: path for path in LOADERS},
            dnsmasq_pid=self.dnsmasq.pid_file,
            dhcp=dhcp,
            interface=self.network.addresses.interface,
        )

    def entry(self, number: int = 1, **changes: object) -> BootEntry:
        return _entry(number, self.network.node_ip(number), self.network.head_ip, changes)

    def appear(self, address: str) -> None:
        """A machine with this address is on the boot network."""
        self._inside("ip", "addr", "add", f"{address}/24", "dev", "br0")

    def vanish(self, address: str) -> None:
        self._inside("ip", "addr", "del", f"{address}/24", "dev", "br0")

    def script(self, address: str) -> str | None:
        data = self.fetch(address, "boot.ipxe")
        return None if data is None else data.decode()

    def fetch(self, address: str, name: str) -> bytes | None:
        self.appear(address)
        try:
            answer = self.client("tftp", self.network.head_ip, address, name)
        finally:
            self.vanish(address)
        return base64.b64decode(answer["data"]) if "data" in answer else None

    def offer(self, mac: str) -> dict[str, str]:
        return self.client("dhcp", "br0", mac)

    def client(self, *arguments: str) -> dict[str, str]:
        program = str(Path(__file__).with_name("netclient.py"))
        answer: dict[str, str] = json.loads(self._inside(sys.executable, program, *arguments))
        return answer

    def _inside(self, *command: str) -> str:
        full = ["ip", "netns", "exec", self.network.namespace, *command]
        return subprocess.run(full, capture_output=True, text=True, timeout=60, check=True).stdout


def _entry(number: int, address: str, portal: str, changes: dict[str, object]) -> BootEntry:
    entry = BootEntry(
        node=f"{number:032x}",
        disk=f"d{number}",
        generation=1,
        mac=f"52:54:00:77:00:{number:02x}",
        address=address,
        hostname=f"n{number}",
        firmware=Firmware.ANY,
        portal=(portal, 3260),
        iqn=f"iqn.2026-01.org.bmi:d{number}",
        initiator=f"iqn.2026-01.org.bmi:n{number}",
        user=f"d{number}.1",
        secret=SECRET,
    )
    return replace(entry, **changes)


def wait_until(what: Callable[[], bool], seconds: float = 20) -> None:
    last = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < last, "it didn't come to pass in time"
        time.sleep(0.05)
