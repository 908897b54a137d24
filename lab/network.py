"""The boot network of a lab: a namespace with a bridge and a tap for each node; the head sits outside, on a veth.

    host                    | namespace bmi-<id>
    head (10.77.3.1) on h<id> ==== uplink --- bridge br0 --- tap0 --- node

All interfaces but the head's own live in the namespace, so nothing here can meet what the machine itself is
connected to. Several labs run side by side: each takes a subnet and an interface name that nobody else has.
DHCP, nodes and targets are not this module's business.
"""

from __future__ import annotations

import fcntl
import ipaddress
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.process import LabError

_BRIDGE = "br0"
_UPLINK = "uplink"
_TAKEN = Path("/run/lock/bmi-lab-network")


@dataclass(frozen=True)
class Addresses:
    """What a network took: names on this machine, and addresses on the boot network."""

    namespace: str
    interface: str
    subnet: str
    head_ip: str
    head_ipv6: str


class Network:
    """The boot network whose state lies in `folder`; another process finds it again by the folder alone.

    `subnet` (such as "10.77.0.0/24") is chosen among 10.77.0.0/16 where none is given. The head has the first
    address of it.
    """

    def __init__(self, folder: Path, subnet: str | None = None) -> None:
        self._file = folder / "network.json"
        self._wished = subnet

    @property
    def addresses(self) -> Addresses:
        """What the network took when it came up. Raises LabError when it is not up."""
        if not self._file.exists():
            raise LabError(f"network: not up, {self._file} is missing")
        return Addresses(**json.loads(self._file.read_text()))

    @property
    def head_ip(self) -> str:
        """The head's address on the boot network."""
        return self.addresses.head_ip

    @property
    def namespace(self) -> str:
        """The network namespace that the nodes live in."""
        return self.addresses.namespace

    def node_ip(self, number: int) -> str:
        """The address for the node with this number (1, 2, ...); leaves the low ones to heads."""
        return str(ipaddress.ip_network(self.addresses.subnet)[10 + number])

    def up(self) -> None:
        """Make it, or leave it as it is when it is up already. Raises LabError."""
        if self._file.exists():
            if self._whole():
                return
            self.down()
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time():
            taken = self._choose()
            # Written before anything is made: a lab that is killed in the middle is cleaned up by the next one.
            new = self._file.with_suffix(".new")
            new.write_text(json.dumps(asdict(taken)))
            new.replace(self._file)
            self._make(taken)

    def down(self) -> None:
        """Remove all of it; quiet where there is nothing. Nodes must be off: a namespace lives on while in use."""
        if not self._file.exists():
            return
        taken = self.addresses
        # The veth goes from the host's side: a process left in the namespace would keep the other side alive.
        _try("ip", "link", "del", taken.interface)
        _try("ip", "netns", "del", taken.namespace)
        self._file.unlink()

    def tap(self, number: int) -> str:
        """The tap for the node with this number, made if need be; usable only inside the namespace."""
        name = f"tap{number}"
        if not _try(*self._inside("ip", "link", "show", name)):
            _run(*self._inside("ip", "tuntap", "add", name, "mode", "tap"))
        _run(*self._inside("ip", "link", "set", name, "master", _BRIDGE, "up"))
        return name

    def _inside(self, *command: str) -> list[str]:
        return ["ip", "netns", "exec", self.namespace, *command]

    def _whole(self) -> bool:
        return _try("ip", "link", "show", self.addresses.interface) and _try(
            *self._inside("ip", "link", "show", _BRIDGE)
        )

    def _choose(self) -> Addresses:
        used = _used_networks()
        wished = [self._wished] if self._wished else [f"10.77.{third}.0/24" for third in range(256)]
        for text in wished:
            subnet = ipaddress.IPv4Network(text)
            if any(subnet.overlaps(other) for other in used):
                continue
            tag = f"{int(subnet.network_address) >> 8 & 0xFFFF:04x}{os.getpid() & 0xFFFF:04x}"
            prefix = f"fd77:{int(subnet.network_address) >> 16:x}:{int(subnet.network_address) & 0xFFFF:x}"
            return Addresses(f"bmi-{tag}", f"bmi{tag}", str(subnet), str(subnet[1]), f"{prefix}::1")
        raise LabError(f"network: no free subnet among {wished[0]} ... {wished[-1]}")

    def _make(self, taken: Addresses) -> None:
        length = ipaddress.ip_network(taken.subnet).prefixlen
        _run("ip", "netns", "add", taken.namespace)
        _run(*self._inside("ip", "link", "add", _BRIDGE, "type", "bridge", "forward_delay", "0", "stp_state", "0"))
        _run("ip", "link", "add", taken.interface, "type", "veth", "peer", _UPLINK, "netns", taken.namespace)
        _run(*self._inside("ip", "link", "set", _UPLINK, "master", _BRIDGE, "up"))
        _run(*self._inside("ip", "link", "set", _BRIDGE, "up"))
        _run("ip", "addr", "add", f"{taken.head_ip}/{length}", "dev", taken.interface)
        # iPXE waits 13 s for a router advertisement, and one needs an IPv6 prefix to advertise; nodad, because
        # dnsmasq can't use the address while it is being probed.
        _run("ip", "-6", "addr", "add", f"{taken.head_ipv6}/64", "dev", taken.interface, "nodad")
        _run("ip", "link", "set", taken.interface, "up")


def _used_networks() -> list[ipaddress.IPv4Network]:
    links = json.loads(_run("ip", "-j", "-4", "addr"))
    routes = json.loads(_run("ip", "-j", "-4", "route"))
    texts = [f"{a['local']}/{a['prefixlen']}" for link in links for a in link["addr_info"]]
    texts += [route["dst"] for route in routes if route["dst"] != "default"]
    return [ipaddress.IPv4Network(text, strict=False) for text in texts]


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Two labs that come up at the same moment would choose the same subnet."""
    with _TAKEN.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"network: {' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def _try(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
