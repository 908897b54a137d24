"""What the ipxe driver promises beyond its port: DHCP, files and their rights, half-done pointers, a dead dnsmasq."""

from __future__ import annotations

import shutil
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bmid.errors import Misconfigured, TransientError
from lab.dnsmasq import LOADERS
from tests.support.boot_peer import SECRET, IpxePeer, wait_until

MAC = "52:54:00:77:00:01"


@pytest.fixture
def ipxe(tmp_path: Path) -> Iterator[IpxePeer]:
    with ExitStack() as stack:
        yield IpxePeer(tmp_path, stack)


def test_dhcp_answers_a_pointed_node_and_nobody_else(ipxe: IpxePeer) -> None:
    entry = ipxe.entry()
    assert ipxe.offer(MAC) == {"error": "no answer"}
    ipxe.boot.point(entry)
    wait_until(lambda: "address" in ipxe.offer(MAC))
    assert ipxe.offer(MAC) == {"address": entry.address, "hostname": "n1", "file": "boot.ipxe"}
    ipxe.boot.clear(entry.address, entry.disk)
    wait_until(lambda: "error" in ipxe.offer(MAC))


def test_an_address_that_goes_to_another_node_is_not_given_to_both(ipxe: IpxePeer) -> None:
    first, second = ipxe.entry(1), ipxe.entry(2, address=ipxe.network.node_ip(1))
    ipxe.boot.point(first)
    wait_until(lambda: "address" in ipxe.offer(first.mac))
    ipxe.boot.point(second)
    wait_until(lambda: ipxe.offer(second.mac).get("address") == second.address)
    assert "error" in ipxe.offer(first.mac)


def test_both_firmwares_get_their_loader(ipxe: IpxePeer) -> None:
    entry = ipxe.entry()
    ipxe.boot.point(entry)
    for path in LOADERS:
        assert ipxe.fetch(entry.address, path.name) == path.read_bytes()


def test_the_script_with_the_secret_is_not_for_all_the_world(ipxe: IpxePeer) -> None:
    entry = ipxe.entry()
    ipxe.boot.point(entry)
    folder = ipxe.dnsmasq.tftp / entry.address
    assert stat.S_IMODE((folder / "boot.ipxe").stat().st_mode) == 0o640
    assert SECRET not in (ipxe.dnsmasq.hosts / entry.address).read_text()
    assert sorted(path.name for path in folder.iterdir()) == ["boot.ipxe", "ipxe.efi", "undionly.kpxe"]


def test_nothing_is_left_of_a_cleared_pointer(ipxe: IpxePeer) -> None:
    entry = ipxe.entry()
    ipxe.boot.check()
    before = sorted(path.name for path in ipxe.dnsmasq.tftp.iterdir())
    ipxe.boot.point(entry)
    ipxe.boot.clear(entry.address, entry.disk)
    assert sorted(path.name for path in ipxe.dnsmasq.tftp.iterdir()) == before
    assert list(ipxe.dnsmasq.hosts.iterdir()) == []


@pytest.mark.parametrize("part", ["tftp/{}/ipxe.efi", "hosts/{}", "tftp/{}/boot.ipxe"])
def test_a_pointer_with_a_part_missing_is_incomplete_until_pointed_again(ipxe: IpxePeer, part: str) -> None:
    entry = ipxe.entry()
    ipxe.boot.point(entry)
    (ipxe.dnsmasq.tftp.parent / part.format(entry.address)).unlink()
    pointer = ipxe.boot.pointer(entry.address)
    assert pointer is not None
    assert (pointer.disk, pointer.complete) == (entry.disk, False)
    ipxe.boot.point(entry)
    pointer = ipxe.boot.pointer(entry.address)
    assert pointer is not None
    assert pointer.complete


def test_a_half_removed_pointer_is_removed_by_clearing_again(ipxe: IpxePeer) -> None:
    entry = ipxe.entry()
    ipxe.boot.point(entry)
    (ipxe.dnsmasq.tftp / entry.address / "boot.ipxe").unlink()
    ipxe.boot.clear(entry.address, entry.disk)
    assert ipxe.boot.pointer(entry.address) is None
    assert not (ipxe.dnsmasq.tftp / entry.address).exists()
    assert list(ipxe.dnsmasq.hosts.iterdir()) == []


def test_a_host_entry_without_a_folder_is_a_pointer_too(ipxe: IpxePeer) -> None:
    """By DHCP the node still is who it was."""
    entry = ipxe.entry()
    ipxe.boot.point(entry)
    shutil.rmtree(ipxe.dnsmasq.tftp / entry.address)
    (pointer,) = ipxe.boot.pointers()
    assert (pointer.address, pointer.disk, pointer.complete) == (entry.address, entry.disk, False)
    ipxe.boot.clear(entry.address, entry.disk)
    assert ipxe.boot.pointers() == ()


def test_a_killed_dnsmasq_is_said_and_pointers_are_written_all_the_same(ipxe: IpxePeer) -> None:
    ipxe.dnsmasq.stop()
    with pytest.raises(TransientError) as error:
        ipxe.boot.check()
    assert error.value.problem.slug == "boot-server-down"
    entry = ipxe.entry()
    ipxe.boot.point(entry)
    ipxe.boot.clear(entry.address, entry.disk)


def test_no_other_process_is_signalled_under_an_old_pid(ipxe: IpxePeer) -> None:
    entry = ipxe.entry()
    ipxe.boot.point(entry)
    with subprocess.Popen(["sleep", "60"]) as bystander:
        ipxe.dnsmasq.pid_file.write_text(f"{bystander.pid}\n")
        ipxe.boot.clear(entry.address, entry.disk)
        with pytest.raises(subprocess.TimeoutExpired):
            bystander.wait(0.3)
        bystander.kill()


def test_with_foreign_dhcp_no_host_entry_is_written_and_the_lines_are_told(ipxe: IpxePeer) -> None:
    boot = ipxe.driver("external")
    entry = ipxe.entry()
    boot.point(entry)
    assert list(ipxe.dnsmasq.hosts.iterdir()) == []
    assert f"dhcp-host={MAC},{entry.address},n1" in boot.foreign_lines(entry)
    pointer = boot.pointer(entry.address)
    assert pointer is not None
    assert pointer.complete
    boot.clear(entry.address, entry.disk)
    assert boot.pointers() == ()


def test_a_folder_that_cannot_be_written_is_an_error_that_may_pass(ipxe: IpxePeer) -> None:
    shutil.rmtree(ipxe.dnsmasq.tftp)
    ipxe.dnsmasq.tftp.write_text("in the way")
    for call in (ipxe.boot.check, lambda: ipxe.boot.point(ipxe.entry())):
        with pytest.raises(TransientError) as error:
            call()
        assert error.value.problem.slug == "boot-folder"


def test_a_way_of_dhcp_that_does_not_exist_is_refused(ipxe: IpxePeer) -> None:
    with pytest.raises(Misconfigured):
        ipxe.driver("none")


def test_an_address_answers_while_its_machine_is_there_and_is_silent_soon_after(ipxe: IpxePeer) -> None:
    address = ipxe.network.node_ip(1)
    ipxe.appear(address)
    wait_until(lambda: ipxe.boot.answers(address) is True)
    ipxe.vanish(address)
    began = time.monotonic()
    wait_until(lambda: ipxe.boot.answers(address) is False, 8)
    assert time.monotonic() - began >= 2.5
    ipxe.appear(address)
    wait_until(lambda: ipxe.boot.answers(address) is True)


def test_asking_whether_an_address_answers_takes_no_time(ipxe: IpxePeer) -> None:
    for number in (1, 2):
        began = time.monotonic()
        ipxe.boot.answers(ipxe.network.node_ip(number))
        assert time.monotonic() - began < 2  # it takes 0.1; to wait for an answer takes 3
