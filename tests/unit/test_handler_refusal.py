"""What the state of the site refuses: each with its slug, and a text that names what is in the way."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from bmid.errors import Refused, TransientError
from bmid.model.entity import DiskState, Firmware
from tests.support.plan import handler_of, plan_of, refused
from tests.support.view import KEPT, NETWORK, MemoryView, context, disk, image, node, project

MAP = {"project": "p1", "node": "n1", "image": "debian"}
UNMAP = {"project": "p1", "node": "n1"}
IMPORT = {"project": "p1", "image": "debian", "source": {"file": "a.raw"}}
REGISTER = {"node": "n1", "macs": ["52:54:00:00:00:01"]}
FULL = [disk(f"d{host}", node=f"m{host}", address=f"10.77.0.{host}") for host in (10, 11, 12)]

# command, data, rows, slug, words of the text
REFUSALS: list[tuple[str, dict[str, Any], tuple[Any, ...], str, tuple[str, ...]]] = [
    ("project.remove", {"project": "p1"}, (project(), image()), "project-not-empty", ("p1", "debian")),
    ("project.remove", {"project": "p1"}, (project(), disk()), "project-not-empty", ("p1", "d1")),
    ("image.import", IMPORT, (), "project-unknown", ("p1",)),
    ("image.import", IMPORT, (project(), image()), "image-exists", ("p1", "debian")),
    ("image.remove", {"project": "p1", "image": "debian"}, (image(), disk()), "image-in-use", ("debian", "d1")),
    ("image.remove", {"project": "p1", "image": "debian"}, (image(), image("child", parent="id-debian")),
     "image-in-use", ("debian", "child")),
    ("image.remove", {"project": "p1", "image": "debian"}, (image(), disk(project="p2")), "image-in-use", ("d1", "p2")),
    ("node.register", REGISTER, (node("n2"),), "mac-taken", ("52:54:00:00:00:01", "n2")),
    ("node.register", {**REGISTER, "address": "10.77.0.50"}, (node("n2", macs=(), address="10.77.0.50"),),
     "address-taken", ("10.77.0.50", "n2")),
    ("node.register", {**REGISTER, "address": "10.77.0.10"}, (disk(node="n2"),), "address-taken", ("10.77.0.10", "d1")),
    ("node.register", {**REGISTER, "address": "10.78.0.10"}, (), "address-outside", ("10.78.0.10", "10.77.0.0/24")),
    ("node.register", {**REGISTER, "address": "10.77.0.1"}, (), "address-taken", ("10.77.0.1",)),
    ("node.register", {**REGISTER, "address": "10.77.0.255"}, (), "address-outside", ("10.77.0.255",)),
    ("node.register", {**REGISTER, "address": "fe80::1"}, (), "address-outside", ("fe80::1",)),
    ("node.register", {**REGISTER, "boot_mac": "52:54:00:00:00:09"}, (), "boot-nic-unknown", ("52:54:00:00:00:09",)),
    ("node.register", {"node": "n1", "macs": ["52:54:00:00:00:02"]}, (node(disk="id-d1"), disk()),
     "node-mapped", ("n1",)),
    ("node.register", {**REGISTER, "address": "10.77.0.60"}, (node(disk="id-d1"), disk()), "node-mapped", ("n1",)),
    ("node.register", {**REGISTER, "address": "10.77.0.10"}, (disk("n1", node="n2"),), "address-taken", ("use",)),
    ("node.register", {**REGISTER, "address": "10.77.0.10"}, (node(), KEPT), "address-taken", ("10.77.0.10", "d1")),
    ("node.remove", {"node": "n1"}, (node(disk="id-d1"), disk()), "node-mapped", ("n1", "d1", "p1")),
    ("node.map", MAP, (image(), node()), "project-unknown", ("p1",)),
    ("node.map", MAP, (project(), node()), "image-unknown", ("p1/debian",)),
    ("node.map", {**MAP, "image": "p2/x"}, (project(), image(), node()), "image-unknown", ("p2/x",)),
    ("node.map", MAP, (project(), image(ready=False), node()), "image-unknown", ("debian",)),
    ("node.map", MAP, (project(), image()), "node-unknown", ("n1",)),
    ("node.map", {**MAP, "image": "other"}, (project(), image(), image("other"), node(disk="id-d1"), disk()),
     "disk-in-place", ("n1", "d1", "p1")),
    ("node.map", {**MAP, "project": "p2", "image": "p1/debian"},
     (project(), project("p2"), image(), node(disk="id-d1"), disk()), "disk-in-place", ("d1", "p1")),
    ("node.map", MAP, (project(), image(), node(disk="id-d1"), disk(state=DiskState.MAKING)), "disk-in-place", ("d1",)),
    ("node.map", MAP, (project(), image(firmware=("bios",)), node(firmware=Firmware.UEFI)),
     "firmware-mismatch", ("debian", "bios", "uefi", "n1")),
    ("node.map", MAP, (project(), image(firmware=()), node()), "firmware-mismatch", ("debian", "n1")),
    ("node.map", {**MAP, "power": "cycle"}, (project(), image(), node(power=None)), "no-power-driver", ("n1",)),
    ("node.map", MAP, (project(), image(), node(), *FULL), "network-full", ("3", "default")),
    ("node.map", MAP, (project(), image(), node(address="10.77.0.10"), disk(node="n2")),
     "address-taken", ("10.77.0.10", "d1")),
    ("node.map", MAP, (project(), image(), node(address="10.77.0.10"), disk("n1", project="p2", node="n2")),
     "address-taken", ("10.77.0.10",)),
    ("node.unmap", UNMAP, (project(),), "node-unknown", ("n1",)),
    ("node.unmap", {**UNMAP, "project": "p2"}, (image(), node(disk="id-d1"), disk()),
     "node-of-another-project", ("n1", "p2")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "data", "rows", "slug", "words"),
    REFUSALS,
    ids=[f"{one[0]}-{one[3]}-{number}" for number, one in enumerate(REFUSALS)],
)
def test_a_refusal_names_what_is_in_the_way(
    kind: str, data: dict[str, Any], rows: tuple[Any, ...], slug: str, words: tuple[str, ...]
) -> None:
    """Its slug is for programs, its text for people."""
    refused(kind, data, rows, slug, words)


def test_a_refusal_of_another_project_does_not_tell_whose_the_node_is() -> None:
    """Who unmaps a node of somebody else learns nothing but that it isn't theirs."""
    with pytest.raises(Refused) as caught:
        plan_of("node.unmap", {**UNMAP, "project": "p2"}, context(image(), node(disk="id-d1"), disk(project="secret")))
    assert "secret" not in caught.value.problem.model_dump_json()


def test_force_maps_what_seems_unable_to_boot() -> None:
    """In the wrong mode, or in none that was recognised."""
    for modes in (("bios",), ()):
        rows = (project(), image(firmware=modes), node(firmware=Firmware.UEFI))
        assert plan_of("node.map", {**MAP, "force": True}, context(*rows)).stages


def test_a_wished_address_is_given_to_who_wishes_for_it_alone() -> None:
    """Others get the next one."""
    wishing = node("n2", macs=("52:54:00:00:00:02",), address="10.77.0.10")
    mine = plan_of("node.map", {**MAP, "node": "n2"}, context(project(), image(), node(), wishing))
    other = plan_of("node.map", MAP, context(project(), image(), node(), wishing))
    assert mine.reserve[0].entity.address == "10.77.0.10"
    assert other.reserve[0].entity.address == "10.77.0.11"


def test_without_a_living_head_a_map_waits_for_one() -> None:
    """That is no refusal: it may come back."""
    with pytest.raises(TransientError, match="no head"):
        plan_of("node.map", MAP, context(project(), image(), node(), shards=()))


def test_a_network_that_is_gone_is_a_refusal() -> None:
    """And not a crash."""
    given = context(project(), image(), node())
    assert isinstance(given.view, MemoryView)
    given.view.networks = ()
    with pytest.raises(Refused, match=NETWORK.name) as caught:
        plan_of("node.map", MAP, given)
    assert caught.value.problem.todo


BAD: list[tuple[str, dict[str, Any]]] = [
    ("node.register", {"node": "n1", "macs": []}),
    ("node.register", {"node": "n1", "macs": ["52:54:00:00:00:01", "52-54-00-00-00-01"]}),
    ("node.register", {"node": "n1", "macs": ["01:00:5e:00:00:01"]}),
    ("node.register", {"node": "n1", "macs": ["x"]}),
    ("node.register", {**REGISTER, "firmware": "coreboot"}),
    ("node.register", {**REGISTER, "address": "10.77.0.300"}),
    ("node.register", {**REGISTER, "labels": {"a\n": "b"}}),
    ("node.register", {**REGISTER, "power": {"driver": "redfish", "address": "a b"}}),
    ("node.register", {**REGISTER, "power": {"driver": "redfish", "address": "a", "password": "secret"}}),
    ("image.import", {**IMPORT, "source": {}}),
    ("image.import", {**IMPORT, "source": {"file": "a", "upload": "0" * 64}}),
    ("image.import", {**IMPORT, "source": {"file": "../etc/passwd"}}),
    ("image.import", {**IMPORT, "source": {"file": "a/b"}}),
    ("image.import", {**IMPORT, "source": {"file": ".hidden"}}),
    ("image.import", {**IMPORT, "source": {"upload": "short"}}),
    ("image.import", {**IMPORT, "format": "vmdk"}),
    ("image.import", {**IMPORT, "sha256": "Z" * 64}),
    ("image.import", {**IMPORT, "description": "a\x00b"}),
    ("node.map", {**MAP, "power": "off"}),
    ("node.map", {**MAP, "image": "a/b/c"}),
    ("node.map", {**MAP, "image": "p1/../x"}),
    ("node.map", {**MAP, "extra": 1}),
]


@pytest.mark.parametrize(("kind", "data"), BAD)
def test_what_can_never_be_right_is_not_even_a_command(kind: str, data: dict[str, Any]) -> None:
    """The schema says no, before anything depends on state."""
    with pytest.raises(ValidationError):
        handler_of(kind).command.model_validate(data)
