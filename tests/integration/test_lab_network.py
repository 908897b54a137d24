"""The boot network of several heads: each reaches the nodes and the services, and none of it stays."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from lab import network as module
from lab.network import Network
from lab.process import LabError


def ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout


def reaches(namespace: str, address: str) -> bool:
    """Whether the address answers there, by a TCP port that nobody listens on."""
    program = f"""
import socket
with socket.socket() as probe:
    probe.settimeout(5)
    print(probe.connect_ex(({address!r}, 9)))
"""
    command = ["ip", "netns", "exec", namespace, sys.executable, "-c", program]
    answer = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return answer == errno.ECONNREFUSED


def test_each_head_has_a_namespace_on_the_boot_network_and_reaches_this_machine(tmp_path: Path) -> None:
    network = Network(tmp_path / "two", heads=2)
    try:
        network.up()
        taken = network.addresses
        first, second = taken.heads
        assert Network(tmp_path / "two").addresses == taken
        assert len({taken.namespace, first.namespace, second.namespace}) == 3
        assert network.service_ip in ip("addr", "show", taken.interface)
        for head, other in ((first, second), (second, first)):
            assert head.namespace is not None
            assert f"{head.ip}/" in ip("-n", head.namespace, "addr", "show", head.interface)
            assert reaches(head.namespace, other.ip)
            assert reaches(head.namespace, network.service_ip)
    finally:
        network.down()
    left = ip("link") + ip("netns")
    assert taken.namespace not in left
    assert taken.interface not in left
    assert network.service_ip == "127.0.0.1"


def test_a_network_that_was_left_half_made_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, run = Network(tmp_path / "half", heads=2), module.run

    def ends(*command: str) -> str:
        if "mgmt1" in command:
            raise LabError("killed before the second head had its interfaces")
        return run(*command)

    try:
        monkeypatch.setattr(module, "run", ends)
        with pytest.raises(LabError, match="killed"):
            network.up()
        monkeypatch.undo()
        network.up()
        second = network.addresses.heads[1]
        assert f"{second.ip}/" in ip("-n", str(second.namespace), "addr", "show", second.interface)
    finally:
        network.down()
