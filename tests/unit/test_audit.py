"""Rows against sightings: each kind of finding, and what is none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bmid.drivers.base import ExportStatus, Pointer, Stored
from bmid.model.finding import Finding, Kind, part
from bmid.model.promise import PromisedDisk, PromisedImage, Promises
from bmid.steps.audit import compare, compare_both
from bmid.steps.sighting import Sightings

PREFIX = "iqn.2026-11.org.example.bmi"
DISK = PromisedDisk("d1", "p1", "n1-disk", "mapped", 7, "n1", "10.0.0.7", "h1", "s0", 3, "client.1", seeded=True)
IMAGE = PromisedImage("i1", "p1", "debian", ready=True)
ROWS = Promises({"d1": DISK}, {"i1": IMAGE}, {"n1": "d1"}, site="us")
TARGET = ExportStatus(7, f"{PREFIX}:d1", "pool/disk-d1", "d1", ("10.0.0.7",), (), "/seeds/d1.iso")
POINTER = Pointer("10.0.0.7", "d1", 3, f"{PREFIX}:d1")
STORED = (Stored("disk", "d1", {"id": "d1"}), Stored("image", "i1", {"id": "i1"}), Stored("trash", "old"))


def sighted(**other: Any) -> Sightings:
    """A world that is as the rows say, but for `other`."""
    usual: dict[str, Any] = {
        "stored": STORED,
        "targets": {"s0": (TARGET,)},
        "pointers": (POINTER,),
        "seeds": frozenset({"d1"}),
        "owners": {"d1": "client.1"},
        "staging": frozenset(),
        "exports": frozenset(),
        "seen": ["storage", "database"],
    }
    return Sightings("h1", PREFIX, **{**usual, **other})


def rows(**other: Any) -> Promises:
    return replace(ROWS, **other)


def with_disk(**fields: Any) -> Promises:
    return rows(disks={"d1": replace(DISK, **fields)})


STRAY = replace(TARGET, number=9, iqn=f"{PREFIX}:gone")
FAULT = Finding(Kind.KEY_LEFT, "node:n1", "database", "a key is left", "by hand")
CASES: dict[str, tuple[Promises, Sightings, Kind, str, str]] = {
    "a disk that is gone": (ROWS, sighted(stored=STORED[1:]), Kind.DISK_MISSING, "d1", "p1/n1-disk"),
    "a parked one": (
        rows(disks={"d1": replace(DISK, state="parked", head=None, node=None)}, nodes={}),
        sighted(stored=STORED[1:], targets={"s0": ()}, pointers=(), seeds=frozenset(), owners={}),
        Kind.DISK_MISSING, "d1", "not in the storage",
    ),
    "an image that is gone": (ROWS, sighted(stored=STORED[:1]), Kind.IMAGE_MISSING, "i1", "p1/debian"),
    "something gone from the trash": (
        rows(trash={"old": "disk:p1/a", "older": "disk:p1/b"}), sighted(), Kind.TRASH_MISSING, "older", "disk p1/b",
    ),
    "a target that is gone": (ROWS, sighted(targets={"s0": ()}), Kind.TARGET_MISSING, "d1", "node n1"),
    "a target that is closed": (
        ROWS, sighted(targets={"s0": (replace(TARGET, addresses=()),)}), Kind.TARGET_MISSING, "d1", "no open target",
    ),
    "a target for another node": (
        ROWS, sighted(targets={"s0": (replace(TARGET, addresses=("10.0.0.8",)),)}),
        Kind.TARGET_ASTRAY, "d1", "10.0.0.8",
    ),
    "a target with another disk": (
        ROWS, sighted(targets={"s0": (replace(TARGET, backing="pool/disk-d2"),)}), Kind.TARGET_ASTRAY, "d1", "disk-d2",
    ),
    "a target with another account": (
        ROWS, sighted(targets={"s0": (replace(TARGET, user="d2"),)}), Kind.TARGET_ASTRAY, "d1", "account d2",
    ),
    "a target with another's seed": (
        ROWS, sighted(targets={"s0": (replace(TARGET, seed="/seeds/d2.iso"),)}), Kind.TARGET_ASTRAY, "d1", "d2.iso",
    ),
    "a target under another name": (
        ROWS, sighted(targets={"s0": (replace(TARGET, iqn=f"{PREFIX}:d2"),)}), Kind.TARGET_ASTRAY, "d1", ":d2",
    ),
    "no pointer": (ROWS, sighted(pointers=()), Kind.POINTER_MISSING, "d1", "10.0.0.7"),
    "half a pointer": (ROWS, sighted(pointers=(replace(POINTER, complete=False),)), Kind.POINTER_MISSING, "d1", ""),
    "an old pointer": (ROWS, sighted(pointers=(replace(POINTER, generation=2),)), Kind.POINTER_MISSING, "d1", "whole"),
    "a pointer to another's disk": (
        ROWS, sighted(pointers=(replace(POINTER, disk="d2"),)), Kind.POINTER_ASTRAY, "d1", "led to disk d2",
    ),
    "no seed": (ROWS, sighted(seeds=frozenset()), Kind.SEED_MISSING, "d1", "seed"),
    "another client": (ROWS, sighted(owners={"d1": "client.2"}), Kind.OWNER_ASTRAY, "d1", "client.2"),
    "no client": (ROWS, sighted(owners={"d1": None}), Kind.OWNER_ASTRAY, "d1", "by nobody"),
    "a disk without a row": (
        ROWS, sighted(stored=(*STORED, Stored("disk", "d9", {"id": "d9", "name": "x", "project": "p1", "site": "us"}))),
        Kind.DISK_ORPHANED, "d9", "p1/x",
    ),
    "an image without a row": (
        ROWS, sighted(stored=(*STORED, Stored("image", "i9", {"id": "i9", "site": "us"}))),
        Kind.IMAGE_ORPHANED, "i9", "no row",
    ),
    "a snapshot of nobody": (
        ROWS, sighted(stored=(replace(STORED[0], snapshots=("op",)), STORED[1])),
        Kind.SNAPSHOT_ORPHANED, "d1", "snapshot",
    ),
    "a target of a disk without a row": (
        ROWS, sighted(targets={"s0": (TARGET, STRAY)}), Kind.TARGET_ORPHANED, "gone", "no row",
    ),
    "a target of another head's disk": (
        rows(disks={"d1": DISK, "gone": replace(DISK, id="gone", number=9, node="n2", head="h2", address="10.0.0.9")},
             nodes={"n1": "d1", "n2": "gone"}),
        sighted(targets={"s0": (TARGET, STRAY)}, stored=(*STORED, Stored("disk", "gone", {}))),
        Kind.TARGET_ORPHANED, "gone", "head h2",
    ),
    "a pointer of a disk without a row": (
        ROWS, sighted(pointers=(POINTER, replace(POINTER, address="10.0.0.9", disk="gone"))),
        Kind.POINTER_ORPHANED, "gone", "no row",
    ),
    "a seed without a disk": (ROWS, sighted(seeds=frozenset({"d1", "gone"})), Kind.SEED_ORPHANED, "gone", "seed"),
    "a staging file of nobody": (ROWS, sighted(staging=frozenset({"op"})), Kind.STAGING_LEFT, "op", "a file"),
    "half an export of nobody": (ROWS, sighted(exports=frozenset({"op"})), Kind.EXPORT_LEFT, "op", "half an export"),
    "a stranger in the pool": (
        ROWS, sighted(stored=(*STORED, Stored("stranger", "backup"))), Kind.STRANGER, "backup", "not ours",
    ),
    "a stranger with a name like ours": (
        ROWS, sighted(stored=(*STORED, Stored("disk", "d9"))), Kind.STRANGER, "d9", "nothing in it says",
    ),
    "a disk of another site": (
        ROWS, sighted(stored=(*STORED, Stored("disk", "d9", {"id": "d9", "site": "us", "iqn": "iqn.2026-11.else:d9"}))),
        Kind.STRANGER, "d9", "like ours",
    ),
    "a disk of another site with the same prefix": (
        ROWS, sighted(stored=(*STORED, Stored("disk", "d9", {"id": "d9", "site": "them", "iqn": f"{PREFIX}:d9"}))),
        Kind.STRANGER, "d9", "of site them",
    ),
    "an image of another site": (
        ROWS, sighted(stored=(*STORED, Stored("image", "i9", {"id": "i9", "site": "them", "project": "p1"}))),
        Kind.STRANGER, "i9", "of site them",
    ),
    "an image that doesn't say of which site": (
        ROWS, sighted(stored=(*STORED, Stored("image", "i9", {"id": "i9", "project": "p1"}))),
        Kind.STRANGER, "i9", "nothing in it says",
    ),
    "an image of a site, for a database that knows of none": (
        rows(site=""), sighted(stored=(*STORED, Stored("image", "i9", {"id": "i9", "site": "them"}))),
        Kind.STRANGER, "i9", "of site them",
    ),
    "a stranger at the target": (
        ROWS, sighted(targets={"s0": (TARGET, replace(STRAY, iqn="iqn.2000-01.other:x"))}),
        Kind.STRANGER, "iqn.2000-01.other:x", "not ours",
    ),
    "a node that is astray": (rows(nodes={"n1": "d1", "n2": "d9"}), sighted(), Kind.NODE_ASTRAY, "n2", "no row"),
    "a disk whose node doesn't know it": (rows(nodes={}), sighted(), Kind.DISK_UNFINISHED, "d1", "no node points"),
    "an abandoned image": (
        rows(images={"i1": replace(IMAGE, ready=False)}), sighted(), Kind.IMAGE_UNFINISHED, "i1", "not ready",
    ),
    "what is wrong among the rows": (rows(ledger=(FAULT,)), sighted(), Kind.KEY_LEFT, "node:n1", "a key is left"),
}  # fmt: skip
ELSEWHERE = {Kind.END_MISSING, Kind.END_DOUBLED, Kind.SEQUENCE_GAP, Kind.POSITION_GAP, Kind.CLAIM_LEFT, Kind.BOOT_LEFT,
             Kind.UPLOAD_LEFT}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_differs_is_one_finding_that_says_what_it_is_about(case: str) -> None:
    given, seen, kind, subject, word = CASES[case]
    (found,) = compare(given, seen)
    assert (found.kind, found.subject) == (kind, subject)
    assert word in found.what
    assert found.why
    assert found.kind.about.todo


def test_each_kind_has_a_case() -> None:
    """But for those that the database itself is asked for."""
    assert {case[2] for case in CASES.values()} == set(Kind) - ELSEWHERE


def test_a_world_as_the_rows_say_has_no_findings() -> None:
    assert compare(ROWS, sighted()) == ()


@pytest.mark.parametrize("key", ["node:n1", "disk:p1/n1-disk"])
def test_what_somebody_is_at_work_on_is_neither_missing_nor_left(key: str) -> None:
    """Rows of unfinished operations are in the making."""
    nothing = sighted(stored=STORED[1:], targets={"s0": ()}, pointers=(), seeds=frozenset(), owners={"d1": None})
    assert {one.kind for one in compare(ROWS, nothing)} >= {Kind.TARGET_MISSING, Kind.POINTER_MISSING}
    assert compare(rows(at_work=frozenset({key})), nothing) == ()
    removing = with_disk(state="removing")
    assert compare(replace(removing, at_work=frozenset({key})), sighted()) == ()
    assert [one.kind for one in compare(removing, sighted())] == [Kind.DISK_UNFINISHED]


def test_a_disk_that_is_gone_is_told_of_although_its_target_is_just_being_put_back() -> None:
    """In vain, and for long."""
    key = frozenset({"node:n1"})
    (found,) = compare(rows(at_work=key, restored=key), sighted(stored=STORED[1:], targets={"s0": ()}))
    assert found.kind is Kind.DISK_MISSING


def test_what_bears_the_name_of_an_operation_that_goes_on_is_that_ones() -> None:
    world = sighted(
        stored=(replace(STORED[0], snapshots=("op",)), STORED[1]), staging=frozenset({"op"}), exports=frozenset({"op"})
    )
    assert compare(rows(unfinished=frozenset({"op"})), world) == ()


def test_a_part_that_was_not_looked_at_has_no_findings() -> None:
    """Silence is no evidence."""
    nothing = Sightings("h1", PREFIX)
    assert compare(rows(nodes={}, ledger=(FAULT,)), nothing) == ()


def test_a_disk_of_another_head_is_not_missed_here() -> None:
    assert compare(with_disk(head="h2"), sighted(targets={"s0": ()}, pointers=(), seeds=frozenset(), owners={})) == ()


def test_only_what_holds_against_both_rows_is_a_finding() -> None:
    """What was made or taken away during the look is neither missing nor left."""
    empty = Promises(images=ROWS.images)
    gone = sighted(stored=STORED[1:], targets={"s0": ()}, pointers=(), seeds=frozenset(), owners={})
    assert compare_both(empty, gone, ROWS) == ()  # mapped meanwhile
    assert compare_both(ROWS, gone, empty) == ()  # unmapped meanwhile
    assert compare_both(empty, sighted(), ROWS) == ()
    assert compare_both(ROWS, gone, with_disk(generation=4)) == ()  # taken off and put on again
    assert {one.kind for one in compare_both(ROWS, gone, ROWS)} >= {Kind.DISK_MISSING, Kind.TARGET_MISSING}


def test_a_target_whose_number_a_row_wants_is_that_rows_matter() -> None:
    """Who removed it as an orphan could remove what was put back under the number."""
    found = compare(ROWS, sighted(targets={"s0": (replace(STRAY, number=7),)}))
    assert [one.kind for one in found] == [Kind.TARGET_ASTRAY]


def test_each_finding_names_a_part_that_a_look_names_too() -> None:
    """Else it is never gone again, where that part was not looked at beside it."""
    parts = {"storage", "database", "target s0", "boot", "seed", "owner", "staging", "exports"}
    for given, seen, _, _, _ in CASES.values():
        assert {part(one) for one in compare(given, seen)} <= parts
    assert {part(one) for one in compare(ROWS, sighted(owners={"d1": None}))} == {"owner"}
