"""What the commands to disks, and to nodes with disks, refuse: in the state of the site, or for ever."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from bmid.errors import Refused
from bmid.model.entity import DiskState, Firmware
from tests.support.plan import handler_of, plan_of, refused
from tests.support.view import FREE, KEPT, ON, Shard, context, disk, image, node, project

N1 = {"project": "p1", "node": "n1"}
D1 = {"project": "p1", "disk": "d1"}
P2 = {"project": "p2"}
REFUSALS: list[tuple[str, dict[str, Any], tuple[Any, ...], str, tuple[str, ...]]] = [
    ("node.map", {**N1, "disk": "d1"}, (project(), image(), node()), "disk-unknown", ("p1", "d1")),
    ("node.map", {**N1, "node": "n2", "disk": "d1"}, (*ON, node("n2")), "disk-mapped", ("d1", "n1")),
    ("node.map", {**N1, **P2, "disk": "d1"}, (*FREE, project("p2")), "disk-unknown", ("p2", "d1")),
    ("node.map", {**N1, "disk": "d1"}, (*FREE[:3], replace(KEPT, state=DiskState.REMOVING)), "disk-not-ready", ("d1",)),
    ("node.map", {**N1, "disk": "d1"}, (project(), image(firmware=("bios",)), node(firmware=Firmware.UEFI), KEPT),
     "firmware-mismatch", ("bios", "uefi", "n1")),
    ("node.snapshot", {**N1, "image": "s"}, FREE, "node-not-mapped", ("n1",)),
    ("node.snapshot", {**N1, **P2, "image": "s"}, (*ON, project("p2")), "node-of-another-project", ("n1", "p2")),
    ("node.snapshot", {**N1, "image": "debian"}, ON, "image-exists", ("p1", "debian")),
    ("node.snapshot", {**N1, "image": "s"}, (*ON[:3], disk(state=DiskState.REMOVING)), "disk-not-ready", ("removing",)),
    ("disk.snapshot", {**D1, "image": "s"}, ON, "disk-mapped", ("d1", "n1")),
    ("disk.snapshot", {**D1, **P2, "image": "s"}, (*FREE, project("p2")), "disk-unknown", ("d1", "p2")),
    ("disk.create", {**D1, "image": "debian"}, ON, "disk-exists", ("d1", "p1")),
    ("disk.create", {**D1, "image": "other"}, (*FREE, image("other")), "disk-exists", ("d1",)),
    ("disk.create", {**D1, "image": "x"}, FREE, "image-unknown", ("p1/x",)),
    ("disk.remove", D1, ON, "disk-mapped", ("d1", "n1")),
    ("node.rebuild", N1, FREE, "node-not-mapped", ("n1",)),
    ("node.rebuild", {**N1, **P2}, (*ON, project("p2")), "node-of-another-project", ("n1", "p2")),
    ("node.rebuild", {**N1, "image": "p2/x"}, ON, "image-unknown", ("p2/x",)),
    ("node.rebuild", {**N1, "power": "cycle"}, (*ON[:2], node(disk="id-d1", power=None), disk()),
     "no-power-driver", ("n1",)),
    ("node.power", {**N1, "action": "on"}, (project(), node(power=None)), "no-power-driver", ("n1",)),
    ("node.power", {**N1, **P2, "action": "off"}, (*ON, project("p2")), "node-of-another-project", ("n1", "p2")),
    ("node.power", {**N1, "action": "on"}, (*ON[:3], disk(state=DiskState.REMOVING)), "disk-not-ready", ("removing",)),
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


def test_a_head_that_is_drained_takes_no_rebuild() -> None:
    """An unmap and a map bring the node to another one."""
    with pytest.raises(Refused, match="h1"):
        plan_of("node.rebuild", N1, context(*ON, shards=(Shard(draining=True), Shard("h2", "0"))))


BAD: list[tuple[str, dict[str, Any]]] = [
    ("node.map", {**N1, "image": "i", "disk": "d1"}),
    ("node.map", {**N1, "disk": "d1", "hostname": "h"}),
    ("node.map", {"project": "p1", "nodes": ["n1"], "disk": "d1"}),
    ("node.unmap", {**N1, "disk": "keep"}),
    ("node.snapshot", N1),
    ("node.snapshot", {**N1, "image": "../x"}),
    ("node.snapshot", {**N1, "image": "p2/x"}),
    ("node.snapshot", {**N1, "nodes": ["n2"], "image": "s"}),
    ("disk.snapshot", {**D1, "image": "p2/x"}),
    ("disk.create", D1),
    ("disk.create", {**D1, "image": "i", "image_labels": {"a": "b"}}),
    ("disk.create", {**D1, "disk": "p2/d1", "image": "i"}),
    ("disk.remove", {**D1, "disk": "../d1"}),
    ("node.rebuild", {**N1, "image": "i", "image_labels": {"a": "b"}}),
    ("node.rebuild", {"project": "p1", "nodes": ["n1"], "hostname": "h"}),
    ("node.power", {**N1, "action": "reset"}),
    ("node.power", N1),
]


@pytest.mark.parametrize(("kind", "data"), BAD)
def test_what_can_never_be_right_is_not_even_a_command(kind: str, data: dict[str, Any]) -> None:
    """The schema says no, before anything depends on state."""
    with pytest.raises(ValidationError):
        handler_of(kind).command.model_validate(data)
