"""Machines boot by one message and are free again by another: the whole way, on real parts."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator

import pytest

from bmi_publish import State
from bmid.handlers.map_node import MapNode
from bmid.handlers.register_node import RegisterNode
from bmid.handlers.show_node import ShowNode
from lab.image.debian import DebianImage
from lab.layout import Layout
from lab.site import Site
from lab.trace import Traces, look
from tests.support.site import CACHE, PROJECT, Tenant, marker, standing

AT_ONCE = 8.0  # seconds from a marker on a console to the event; the tiny system reads once a second


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest) -> Iterator[Tenant]:
    with standing(Layout(nodes=3, local_disk_every=3), request) as tenant:
        yield tenant


@pytest.fixture
def tenant(lab: Tenant) -> Iterator[Tenant]:
    """The module's tenant; afterwards every node is free, off and registered as at first, and bmid as at first."""
    yield lab
    site = lab.site
    site.dnsmasq.process.thaw()
    lab.unmap(*site.layout.names, force=True)
    for name in site.layout.names:
        site.node(name).power_off()
    site.register(site.layout.names)


def boot_seconds(tenant: Tenant, nodes: tuple[str, ...]) -> dict[str, float]:
    """Map nodes; how long after each one's marker its node.booted came, in seconds."""
    printed: dict[str, float] = {}
    heard: dict[str, float] = {}

    def watch(name: str) -> None:
        tenant.site.node(name).wait_for_console("BMI-TINY", 120)
        printed[name] = time.monotonic()

    def listen() -> None:
        with tenant.site.client() as client:
            ready.set()
            for event in client.follow([f"bmi.node.booted.v1.{PROJECT}"], timeout=125):
                heard[event.data["node"]] = time.monotonic()
                if len(heard) == len(nodes):
                    return

    ready = threading.Event()
    threads = [threading.Thread(target=watch, args=(name,)) for name in nodes]
    threads.append(threading.Thread(target=listen))
    for thread in threads:
        thread.start()
    ready.wait(10)
    results = tenant.map(*nodes)
    for thread in threads:
        thread.join(130)
    assert [result.state for result in results] == [State.DONE] * len(nodes), results
    return {name: heard[name] - printed[name] for name in nodes}


def write_alone(site: Site, *names: str) -> None:
    """Each node finds its disk as the image is, and then nothing on it but what it has written itself."""
    for name in names:
        node = site.node(name)
        assert marker(site, name)["found"] == "-"
        node.log_in()
        node.type(f"echo {name} > /only-{name}; echo FILES: $(echo /only-*)\n")
    for name in names:
        node = site.node(name)
        node.wait_for_console(f"FILES: /only-{name}", 60)
        assert not re.search(r"^FILES: .* ", node.console_text(), re.MULTILINE)


def test_nodes_of_every_kind_boot_clones_of_their_own_and_fresh_ones_at_the_next_map(tenant: Tenant) -> None:
    """BIOS, UEFI, and one with a local disk; in between nothing is left, and addresses are free for others."""
    site, names = tenant.site, ("n1", "n2", "n3")
    tenant.tiny()
    assert look(site).none

    delays = boot_seconds(tenant, names)
    said = [marker(site, name) for name in names]
    assert [one["host"] for one in said] == list(names)
    assert [(one["root"], one["seen"]) for one in said] == [("/dev/sda2", "golden")] * 3
    assert len({one["wrote"] for one in said}) == 3
    assert "LOCAL DISK" not in site.node("n3").console_text()
    assert max(delays.values()) < AT_ONCE, delays
    write_alone(site, *names)

    there = vars(look(site))
    sessions = there.pop("sessions")  # a firmware's may be listed for 3 s more
    assert [len(found) for found in there.values()] == [3] * 5, there
    assert len(sessions) >= 3
    assert all(result.ok for result in tenant.unmap(*names))
    assert look(site) == Traces((), (), (), (), (), ())
    with site.client() as client:
        shown = [client.query(ShowNode(node=name))["node"] for name in names]
    assert [one.get("disk") for one in shown] == [None] * 3

    # n2 gets the address that n1 has just given back: n1's lease would keep it for two minutes.
    [moved] = tenant.do(MapNode(project=PROJECT, node="n2", image="tiny"))
    assert moved.event is not None
    assert moved.event.data["address"] == site.network.node_ip(1)
    began = time.monotonic()
    [again] = tenant.map("n1")
    assert again.ok
    marker(site, "n2", seconds=150 - (time.monotonic() - began))
    write_alone(site, "n1", "n2")
    assert all(result.ok for result in tenant.unmap("n1", "n2"))


def ended(tenant: Tenant, node: str) -> tuple[str, str, int]:
    """How a boot ended: stage, the last step seen before, attempts. From the query: a publisher learns of the end from
    the event or from the query, whichever is first."""
    with tenant.site.client() as client:
        boot = client.query(ShowNode(node=node))["node"]["boot"]
    return boot["stage"], boot["evidence"]["last"], boot["attempt"]


def test_an_image_without_a_system_fails_after_the_attempts_with_the_last_step_that_was_seen(tenant: Tenant) -> None:
    site = tenant.site
    blank = site.folder / "blank.raw"
    blank.write_bytes(bytes(8 << 20))
    image = tenant.image("blank", blank)
    [refused] = tenant.map("n1", image=image)
    assert refused.state is State.REFUSED
    assert refused.problem is not None
    assert refused.problem.slug == "firmware-mismatch"

    site.restart({"boot": {"deadline": 16, "attempts": 2}})
    try:
        [failed] = tenant.map("n1", image=image, force=True)
    finally:
        site.restart({})
    assert failed.state is State.FAILED, failed
    assert ended(tenant, "n1") == ("failed", "firmware", 2)
    assert site.node("n1").alive
    assert all(result.ok for result in tenant.unmap("n1"))
    assert look(site).none


def test_a_node_that_gets_no_address_fails_with_nothing_seen(tenant: Tenant) -> None:
    site = tenant.site
    tenant.tiny()
    site.restart({"boot": {"deadline": 4, "attempts": 2}})
    site.dnsmasq.process.freeze()
    try:
        [failed] = tenant.map("n2")
    finally:
        site.dnsmasq.process.thaw()
        site.restart({})
    assert failed.state is State.FAILED, failed
    assert ended(tenant, "n2") == ("failed", "waiting", 2)


def test_a_node_without_power_driver_is_taken_off_when_it_is_off_and_by_force_while_it_runs(tenant: Tenant) -> None:
    site = tenant.site
    image = tenant.tiny()
    for name, number, firmware in (("n1", 1, "bios"), ("n2", 2, "uefi")):
        node = RegisterNode(node=name, macs=(site.layout.mac(number),), firmware=firmware)  # type: ignore[arg-type]
        assert all(result.ok for result in tenant.do(node, MapNode(project=PROJECT, node=name, image=image)))
        site.node(name).power_on()
    for name in ("n1", "n2"):
        marker(site, name, seconds=150)

    [refused] = tenant.unmap("n1")
    assert refused.state is State.REFUSED
    assert refused.problem is not None
    assert refused.problem.slug == "session-live"
    site.node("n2").power_off()
    before = look(site).sessions
    assert len(before) >= 2  # n2 sent no FIN, and is listed for up to an hour; its firmware's session may be, too
    [gone] = tenant.unmap("n2")
    assert gone.ok, gone
    assert 1 <= len(look(site).sessions) < len(before)

    [done] = tenant.unmap("n1", force=True)
    assert done.ok
    assert done.event is not None
    assert done.event.data["power"] == "unknown"
    assert look(site) == Traces((), (), (), (), (), ("n1",))


def test_a_node_boots_by_somebody_elses_dhcp_with_the_lines_that_bmid_check_prints(tenant: Tenant) -> None:
    site = tenant.site
    image = tenant.tiny()
    site.restart({"boot": {"dhcp": "external"}})
    conf = site.folder / "dnsmasq/dnsmasq.conf"
    before = conf.read_text()
    try:
        assert tenant.do(MapNode(project=PROJECT, node="n1", image=image, power="none"))[0].ok
        assert look(site).dhcp_entries == ()
        lines = re.findall(r"dhcp-(?:host|match|boot|option)=\S+", site.bmid.run("check"))
        assert lines, site.bmid.run("check")
        own = re.compile(r"^dhcp-(hostsdir|match|boot)=.*\n", re.MULTILINE)
        site.dnsmasq.stop()
        conf.write_text(own.sub("", before) + "\n".join(lines) + "\n")
        site.dnsmasq.process.start()
        site.node("n1").power_on()
        assert marker(site, "n1", seconds=150)["host"] == "n1"
        site.node("n1").power_off()
        tenant.unmap("n1")
    finally:
        site.restart({})
        site.dnsmasq.stop()
        site.dnsmasq.start()


@pytest.mark.long
def test_a_real_debian_boots_on_bios_and_uefi(request: pytest.FixtureRequest) -> None:
    with standing(Layout(nodes=2, memory=1024), request) as tenant:
        results = tenant.map("n1", "n2", image=tenant.image("debian", DebianImage(CACHE).build()), timeout=240)
        assert all(result.ok for result in results), results
        for name in ("n1", "n2"):
            said = marker(tenant.site, name, "BMI-DEBIAN", 120)
            assert (said["host"], said["root"], said["found"]) == (name, "/dev/sda2", "-")
        assert all(result.ok for result in tenant.unmap("n1", "n2"))
        assert look(tenant.site).none


def test_a_lab_without_ceph_on_postgresql_with_two_shards_boots_too(request: pytest.FixtureRequest) -> None:
    layout = Layout(nodes=2, storage="directory", database="postgresql", shards=2)
    with standing(layout, request) as tenant:
        assert all(result.ok for result in tenant.map("n1", "n2"))
        shown = [tgtd.tgtadm("--mode", "target", "--op", "show") for tgtd in tenant.site.tgtds]
        assert [len(re.findall(r"^Target ", text, re.MULTILINE)) for text in shown] == [1, 1]
        assert all("I_T nexus:" in text for text in shown)
        assert all(result.ok for result in tenant.unmap("n1", "n2"))
        assert look(tenant.site).none
