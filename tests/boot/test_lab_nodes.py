"""Virtual nodes boot from hand-made targets by hand-written scripts: the lab's own promises, without bmid."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import sushy

from lab.dnsmasq import Dnsmasq
from lab.image.debian import DebianImage
from lab.image.foreign import ForeignImage
from lab.image.marker import Marker, read_marker
from lab.image.tiny import TinyImage
from lab.network import Network
from lab.node import Firmware, Machine, VirtualNode
from lab.process import wait_for
from lab.redfish import Redfish
from lab.tgtd import Tgtd

CACHE = Path(__file__).parent.parent.parent / ".cache"


@dataclass
class Site:
    """A boot network with everything a node needs, and the hands that bmid would be."""

    folder: Path
    network: Network
    dnsmasq: Dnsmasq
    tgtd: Tgtd
    redfish: Redfish

    def node(
        self, number: int, firmware: Firmware, memory: int = 512, local: Path | None = None, ipxe: bool = True
    ) -> VirtualNode:
        machine = Machine(
            name=f"n{number}",
            mac=f"52:54:00:77:00:{number:02x}",
            namespace=self.network.namespace,
            tap=self.network.tap(number),
            firmware=firmware,
            memory=memory,
            disk=str(local) if local else None,
            ipxe=ipxe,
        )
        return VirtualNode(self.folder / "nodes" / machine.name, machine)

    def export(self, number: int, image: Path) -> None:
        """A target for the node with this number, with a copy of `image` behind it."""
        disk = self.folder / f"disk{number}.raw"
        subprocess.run(["cp", "--sparse=always", image, disk], check=True)
        tid = ("-t", str(number))
        self.tgtd.tgtadm("--mode", "target", "--op", "new", *tid, "-T", f"iqn.2024-01.lab:n{number}")
        self.tgtd.tgtadm("--mode", "logicalunit", "--op", "new", *tid, "-l", "1", "-b", str(disk))
        self.tgtd.tgtadm("--mode", "target", "--op", "bind", *tid, "-I", self.network.node_ip(number))

    def point(self, number: int) -> None:
        """Script, loaders and host entry, as the docstring of lab/dnsmasq.py tells."""
        address = self.network.node_ip(number)
        folder = self.dnsmasq.tftp / address
        folder.mkdir()
        for loader in ("undionly.kpxe", "ipxe.efi"):
            (folder / loader).symlink_to(f"../{loader}")
        portal = f"iscsi:{self.network.head_ip}::3260:1:iqn.2024-01.lab:n{number}"
        script = folder / "boot.ipxe"
        script.write_text(f"#!ipxe\nset initiator-iqn iqn.2024-01.lab:init\nset keep-san 1\nsanboot {portal}\n")
        script.chmod(0o640)
        (self.dnsmasq.hosts / f"n{number}").write_text(f"52:54:00:77:00:{number:02x},{address},n{number}\n")

    def close(self) -> None:
        for file in (self.folder / "nodes").glob("*/node.json"):
            VirtualNode(file.parent).power_off()
        self.redfish.stop()
        self.tgtd.stop()
        self.dnsmasq.stop()
        self.network.down()


@pytest.fixture
def site() -> Iterator[Site]:
    with tempfile.TemporaryDirectory(prefix="bmi-nodes-") as name:
        folder = Path(name)
        network = Network(folder)
        network.up()
        redfish = Redfish(folder / "redfish", folder / "nodes")
        site = Site(folder, network, Dnsmasq(folder / "dns", network), Tgtd(folder / "tgt", network.head_ip), redfish)
        try:
            site.dnsmasq.start()
            site.tgtd.start()
            yield site
        finally:
            site.close()


@pytest.fixture(scope="module")
def tiny() -> Path:
    return TinyImage(CACHE).build()


def marker_of(node: VirtualNode, kind: str = "TINY") -> Marker:
    node.wait_for_console(f"BMI-{kind}", 240)
    marker = read_marker(node.console_text())
    assert marker is not None
    return marker


def says(text: str) -> bytes:
    """A disk of 1 MiB whose boot sector prints `text` and stops: teletype output, a letter at a time."""
    code = b"".join(b"\xb4\x0e\xb0" + bytes([letter]) + b"\xcd\x10" for letter in f"{text}\r\n".encode())
    return ((code + b"\xeb\xfe").ljust(510, b"\0") + b"\x55\xaa").ljust(1 << 20, b"\0")


def test_nodes_boot_their_own_disks_by_every_firmware_and_a_stranger_boots_nothing(site: Site, tiny: Path) -> None:
    """BIOS, UEFI, and UEFI without iPXE in its ROM, which fetches the loader first."""
    nodes = [site.node(1, "bios"), site.node(2, "uefi"), site.node(4, "uefi", ipxe=False)]
    stranger = site.node(3, "bios")
    for number in (1, 2, 4):
        site.export(number, tiny)
        site.point(number)
    for node in (*nodes, stranger):
        node.power_on()
    markers = [marker_of(node) for node in nodes]
    assert [(m.host, m.root, m.seen, m.found) for m in markers] == [
        (name, "/dev/sda2", "golden", "-") for name in ("n1", "n2", "n4")
    ]
    assert len({m.wrote for m in markers}) == 3
    assert "ipxe.efi" in nodes[2].console_text()
    wait_for(lambda: "52:54:00:77:00:03 ignored" in site.dnsmasq.process.log.read_text(), 90, "the stranger asks")
    assert "net0: 10." not in stranger.console_text()

    nodes[0].log_in()
    nodes[0].type("echo I am on $(hostname)\n")
    nodes[0].wait_for_console("I am on n1", 60)


def test_redfish_powers_a_node_whose_disk_remembers_and_finds_it_again_after_a_crash(site: Site, tiny: Path) -> None:
    node = site.node(1, "bios")
    site.export(1, tiny)
    site.point(1)
    site.redfish.start()
    auth = sushy.auth.BasicAuth(site.redfish.user, site.redfish.password)
    root = sushy.Sushy(f"{site.redfish.url}/redfish/v1/", auth=auth, verify=False, server_side_retries=1)
    system = root.get_system(site.redfish.system("n1"))

    system.reset_system(sushy.ResetType.ON)
    assert node.alive
    first = marker_of(node)
    site.redfish.process.kill()
    assert node.alive
    site.redfish.start()
    system.refresh(force=True)
    assert system.power_state == sushy.PowerState.ON
    system.reset_system(sushy.ResetType.FORCE_OFF)
    assert not node.alive

    system.reset_system(sushy.ResetType.ON)
    assert marker_of(node).found == first.wrote


def test_boot_once_from_pxe_passes_by_the_local_disk_and_the_next_reset_does_not(site: Site, tiny: Path) -> None:
    local = site.folder / "local.raw"
    local.write_bytes(says("LOCAL DISK"))
    node = site.node(1, "bios", local=local)
    site.export(1, tiny)
    site.point(1)
    node.power_on()
    node.wait_for_console("LOCAL DISK", 60)
    node.power_off()

    node.boot_once = "pxe"
    node.power_on()
    node.wait_for_console("BMI-TINY", 120)
    assert node.boot_once is None
    node.log_in()
    node.type("reboot\n")
    node.wait_for_console("LOCAL DISK", 60)


@pytest.mark.long
def test_a_uefi_node_boots_once_from_pxe_too(site: Site, tiny: Path) -> None:
    local = site.folder / "local.raw"
    subprocess.run(["truncate", "-s", "16M", local], check=True)
    node = site.node(1, "uefi", local=local)
    site.export(1, tiny)
    site.point(1)
    node.boot_once = "pxe"
    node.power_on()
    node.wait_for_console("BMI-TINY", 120)
    assert node.boot_order() == ["disk", "pxe"]


def test_a_network_that_was_left_behind_is_taken_up_again_and_goes_down_without_a_trace(tmp_path: Path) -> None:
    first = Network(tmp_path / "a")
    other = Network(tmp_path / "b")
    try:
        first.up()
        other.up()
        first.tap(1)
        taken = first.addresses
        assert taken.subnet != other.addresses.subnet
        Network(tmp_path / "a").up()
        assert Network(tmp_path / "a").addresses == taken
    finally:
        Network(tmp_path / "a").down()
        other.down()
    links = subprocess.run(["ip", "link"], check=True, capture_output=True, text=True).stdout
    spaces = subprocess.run(["ip", "netns"], check=True, capture_output=True, text=True).stdout
    assert not re.search(f"{taken.interface}|{taken.namespace}", links + spaces)
    Network(tmp_path / "a").down()


@pytest.mark.long
@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_a_real_debian_reaches_its_login_with_its_root_on_iscsi(site: Site, firmware: Firmware) -> None:
    site.export(1, DebianImage(CACHE).build())
    site.point(1)
    node = site.node(1, firmware, memory=1024)
    node.power_on()
    marker = marker_of(node, "DEBIAN")
    node.log_in()
    assert (marker.host, marker.root, marker.seen, marker.found) == ("n1", "/dev/sda2", "golden", "-")


@pytest.mark.long
def test_an_image_that_knows_nothing_of_the_lab_boots_by_bios_and_by_uefi(site: Site) -> None:
    nodes = [site.node(1, "bios", memory=1024), site.node(2, "uefi", memory=1024)]
    for number, node in enumerate(nodes, start=1):
        site.export(number, ForeignImage(CACHE).build())
        site.point(number)
        node.power_on()
    for node in nodes:
        node.wait_for_console("Debian GNU/Linux 12 foreign ttyS0", 240)
