"""The boot network of a lab: a namespace with a bridge and a tap for each node, and the heads beside it.

With one head, the head is this machine itself:

    host                           | namespace bmi-<id>
    head (10.77.3.1) on bmi<id> ==== up0 --- bridge br0 --- tap0 --- node

With several, each has a namespace of its own, and a second bridge leads from all of them to the services on the host:

    host                           | namespace bmi-<id>                  | namespace bmi-<id>-a (-b, ...)
    services (10.78.3.1) on bmi<id> = host ---- bridge br1 --- mgmt0 ======== mgmt0 (10.78.3.11)   head-a
                                   | node --- tap0 --- bridge br0 --- up0 === boot0 (10.77.3.1)

All interfaces but one live in the namespaces, so nothing here can meet what the machine itself is connected to.
Several labs run side by side: each takes subnets and an interface name that nobody else has. DHCP, nodes and targets
are not this module's business.
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
from functools import partial
from pathlib import Path

from lab.process import LabError

_BRIDGE = "br0"
_MANAGEMENT = "br1"
_TAKEN = Path("/run/lock/bmi-lab-network")


@dataclass(frozen=True)
class Place:
    """Where a head sits: its namespace (None: this machine's own), its interface and addresses on the boot network,
    and the address at which this machine reaches it."""

    namespace: str | None
    interface: str
    ip: str
    ipv6: str
    service_ip: str


@dataclass(frozen=True)
class Addresses:
    """What a network took: names on this machine, and addresses. `service_ip` is where all heads reach the services
    of this machine; `interface` is this machine's own."""

    namespace: str
    interface: str
    subnet: str
    service_ip: str
    heads: tuple[Place, ...]


class Network:
    """The boot network whose state lies in `folder`; another process finds it again by the folder alone.

    `subnet` (such as "10.77.0.0/24") is chosen among 10.77.0.0/16 where none is given. The heads have the first
    addresses of it.
    """

    def __init__(self, folder: Path, subnet: str | None = None, heads: int = 1) -> None:
        self._file = folder / "network.json"
        self._complete = folder / "network.complete"
        self._wished = subnet
        self._heads = heads

    @property
    def addresses(self) -> Addresses:
        """What the network took when it came up. Raises LabError when it is not up."""
        if not self._file.exists():
            raise LabError(f"network: not up, {self._file} is missing")
        stored = json.loads(self._file.read_text())
        return Addresses(**{**stored, "heads": tuple(Place(**head) for head in stored["heads"])})

    @property
    def head_ip(self) -> str:
        """The first head's address on the boot network."""
        return self.addresses.heads[0].ip

    @property
    def service_ip(self) -> str:
        """Where services of this machine listen, so that all heads reach them: the loopback for a head that is this
        machine itself, also before the network is up."""
        return self.addresses.service_ip if self._file.exists() else "127.0.0.1"

    @property
    def namespace(self) -> str:
        """The network namespace that the nodes live in."""
        return self.addresses.namespace

    def head_namespace(self, head: int) -> str | None:
        """The namespace of a head (0, 1, ...); None for this machine's own, and while the network isn't up."""
        return self.addresses.heads[head].namespace if self._file.exists() else None

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
            self._complete.touch()

    def down(self) -> None:
        """Remove all of it; quiet where there is nothing. Nodes must be off: a namespace lives on while in use."""
        if not self._file.exists():
            return
        taken = self.addresses
        self._complete.unlink(missing_ok=True)
        # The veths go from outside: a process left in a namespace would keep the other side alive.
        _try("ip", "link", "del", taken.interface)
        for head in taken.heads:
            if head.namespace:
                for link in ("mgmt0", head.interface):
                    _try("ip", "-n", head.namespace, "link", "del", link)
                _try("ip", "netns", "del", head.namespace)
        _try("ip", "netns", "del", taken.namespace)
        self._file.unlink()

    def tap(self, number: int) -> str:
        """The tap for the node with this number, made if need be; usable only inside the namespace."""
        name = f"tap{number}"
        if not _try(*self._inside("ip", "link", "show", name)):
            run(*self._inside("ip", "tuntap", "add", name, "mode", "tap"))
        run(*self._inside("ip", "link", "set", name, "master", _BRIDGE, "up"))
        return name

    def cut(self, head: int) -> None:
        """A head of several can't be reached on the boot network; it keeps its addresses."""
        place = self.addresses.heads[head]
        run("ip", "-n", str(place.namespace), "link", "set", place.interface, "down")

    def join(self, head: int) -> None:
        """And can be again."""
        place = self.addresses.heads[head]
        run("ip", "-n", str(place.namespace), "link", "set", place.interface, "up")

    def _inside(self, *command: str) -> list[str]:
        return ["ip", "netns", "exec", self.namespace, *command]

    def _whole(self) -> bool:
        """Whether all of it was made, and is there since: a restart of the machine takes it away."""
        return (
            self._complete.exists()
            and _try("ip", "link", "show", self.addresses.interface)
            and _try(*self._inside("ip", "link", "show", _BRIDGE))
        )

    def _choose(self) -> Addresses:
        used = _used_networks()
        wished = [self._wished] if self._wished else [f"10.77.{third}.0/24" for third in range(256)]
        for text in wished:
            boot = ipaddress.IPv4Network(text)
            management = ipaddress.IPv4Network((int(boot.network_address) + (1 << 16), boot.prefixlen))
            if any(boot.overlaps(other) or management.overlaps(other) for other in used):
                continue
            tag = f"{int(boot.network_address) >> 8 & 0xFFFF:04x}{os.getpid() & 0xFFFF:04x}"
            prefix = f"fd77:{int(boot.network_address) >> 16:x}:{int(boot.network_address) & 0xFFFF:x}"
            if self._heads == 1:
                alone = Place(None, f"bmi{tag}", str(boot[1]), f"{prefix}::1", "127.0.0.1")
                return Addresses(f"bmi-{tag}", alone.interface, str(boot), "127.0.0.1", (alone,))
            heads = tuple(
                Place(f"bmi-{tag}-{letter}", "boot0", str(boot[n]), f"{prefix}::{n}", str(management[10 + n]))
                for n, letter in enumerate("abcdefgh"[: self._heads], start=1)
            )
            return Addresses(f"bmi-{tag}", f"bmi{tag}", str(boot), str(management[1]), heads)
        raise LabError(f"network: no free subnet among {wished[0]} ... {wished[-1]}")

    def _make(self, taken: Addresses) -> None:
        length = ipaddress.ip_network(taken.subnet).prefixlen
        run("ip", "netns", "add", taken.namespace)
        for bridge in (_BRIDGE, _MANAGEMENT):
            options = ("forward_delay", "0", "stp_state", "0")
            run(*self._inside("ip", "link", "add", bridge, "type", "bridge", *options))
            run(*self._inside("ip", "link", "set", bridge, "up"))
        if taken.heads[0].namespace is not None:
            self._join(taken, None, taken.interface, _MANAGEMENT, "host")
            run("ip", "addr", "add", f"{taken.service_ip}/{length}", "dev", taken.interface)
        for number, head in enumerate(taken.heads):
            inside: tuple[str, ...] = ()
            if head.namespace is not None:
                inside = ("-n", head.namespace)
                run("ip", "netns", "add", head.namespace)
                run("ip", *inside, "link", "set", "lo", "up")
                self._join(taken, head.namespace, "mgmt0", _MANAGEMENT, f"mgmt{number}")
                run("ip", *inside, "addr", "add", f"{head.service_ip}/{length}", "dev", "mgmt0")
                # An address that moves away must not take along those that came to the same interface after it.
                keep = "echo 1 > /proc/sys/net/ipv4/conf/all/promote_secondaries"
                run("ip", "netns", "exec", head.namespace, "sh", "-c", keep)
            self._join(taken, head.namespace, head.interface, _BRIDGE, f"up{number}")
            add = partial(run, "ip", *inside, "addr", "add", "dev", head.interface)
            add(f"{head.ip}/{length}")
            # iPXE waits 13 s for a router advertisement, and one needs an IPv6 prefix to advertise; nodad, because
            # dnsmasq can't use the address while it is being probed.
            add(f"{head.ipv6}/64", "nodad")

    def _join(self, taken: Addresses, namespace: str | None, interface: str, bridge: str, port: str) -> None:
        """A veth from `interface` in a namespace (None: this machine's) to `port` on a bridge, both ends up."""
        inside = ("-n", namespace) if namespace else ()
        run("ip", *inside, "link", "add", interface, "type", "veth", "peer", "name", port, "netns", taken.namespace)
        run(*self._inside("ip", "link", "set", port, "master", bridge, "up"))
        run("ip", *inside, "link", "set", interface, "up")


def _used_networks() -> list[ipaddress.IPv4Network]:
    links = json.loads(run("ip", "-j", "-4", "addr"))
    routes = json.loads(run("ip", "-j", "-4", "route"))
    texts = [f"{a['local']}/{a['prefixlen']}" for link in links for a in link["addr_info"]]
    texts += [route["dst"] for route in routes if route["dst"] != "default"]
    return [ipaddress.IPv4Network(text, strict=False) for text in texts]


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Two labs that come up at the same moment would choose the same subnet."""
    with _TAKEN.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run(*command: str) -> str:
    """What a command prints. Raises LabError with what it said, where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"network: {' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def _try(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
