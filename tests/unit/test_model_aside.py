"""Whom a failure speaks against: a node for its BMC, an image for its bytes, and nobody for all else."""

from __future__ import annotations

import pytest

from bmid.handlers.registry import discover
from bmid.model.aside import READS, SWITCHES, Blamed, blamed, touched
from bmid.steps.base import Step

COMMAND = {"project": "p1", "node": "n1"}


def plan(*steps: str) -> dict[str, object]:
    """One stage for each step, with the image that it reads."""
    return {"stages": [[{"kind": kind, **({READS[kind]: "i1"} if kind in READS else {})}] for kind in steps]}


def kinds(base: type[Step] = Step) -> set[str]:
    """All that there are."""
    discover()
    own = {base.kind} if "kind" in vars(base) else set()
    return own.union(*(kinds(one) for one in base.__subclasses__()))


def test_the_steps_that_are_looked_for_exist() -> None:
    """A step that gets another name would never be counted again."""
    assert {*SWITCHES, *READS} <= kinds()


@pytest.mark.parametrize(
    ("step", "slug", "whom"),
    [
        ("cycle-power", "bmc-down", Blamed(node="n1")),
        ("power-off", "deadline-passed", Blamed(node="n1")),
        ("boot-from-network", "bmc-garbled", Blamed(node="n1")),
        ("power-on", "credential-missing", None),
        ("power-on", "unexpected", None),
        ("clone-disk", "image-missing", Blamed(image="i1")),
        ("copy-stored", "storage-missing", Blamed(image="i1")),
        ("clone-disk", "storage-timeout", None),
        ("clone-disk", "pool-full", None),
        ("write-file", "no-space", None),
        ("write-file", "imaging-failed", None),
        ("write-foreign", "storage-missing", None),
        ("write-seed", "seed-full", None),
        ("export-disk", "target-backing", None),
        ("export-disk", "storage-missing", None),
        ("point-boot", "boot-folder", None),
    ],
)
def test_a_failure_speaks_against_the_one_thing_that_can_have_made_it(
    step: str, slug: str, whom: Blamed | None
) -> None:
    """What a full folder, a slow storage or somebody's broken disk does, neither node nor image has done."""
    assert blamed(COMMAND, plan(step), step, slug) == whom
    assert blamed(COMMAND, plan("settle"), step, slug) is None
    assert blamed(COMMAND, None, step, slug) is None


def test_a_success_speaks_for_what_took_part_alone() -> None:
    """A map that switched nothing says nothing of the BMC."""
    assert touched(COMMAND, plan("clone-disk", "export-disk")) == [Blamed(image="i1")]
    assert touched(COMMAND, plan("export-disk", "cycle-power")) == [Blamed(node="n1")]
    assert touched(COMMAND, None) == []
