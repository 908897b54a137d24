"""What is not as the rows say: a finding, its kind, and what is done about it. How it is found is told elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

__all__ = ["ABANDONED", "BY_HAND", "ROWLESS", "SHARED", "Finding", "Kind", "Noted", "Remedy", "due", "part"]

SHARED = ""  # the head of what all heads see alike: storage and database
# Why something may be as it is.
BY_HAND = "somebody took it away by hand, or the part that keeps it forgot it"
ABANDONED = "an operation was abandoned, or was carried out on a database that was put back since"
ROWLESS = "its row is gone: a database was put back, rows were changed by hand, or a mistake of bmid"


class Remedy(StrEnum):
    """What the daemon does about a finding.

    restore: put back what a mapped disk needs at its home. remove: take away what nobody knows, when the quarantine
    is over; what is in the storage goes to the trash. write: put the database right. none: a person has to look.
    """

    RESTORE = "restore"
    REMOVE = "remove"
    WRITE = "write"
    NONE = "none"


class About(NamedTuple):
    """What is done about a kind of finding, how many looks in a row must have seen it before, and what that is for
    people."""

    remedy: Remedy
    looks: int
    todo: str


class Kind(StrEnum):
    """Kinds of findings. They are said on the command line and in messages, and never change their meaning."""

    IMAGE_MISSING = "image-missing"
    DISK_MISSING = "disk-missing"
    TRASH_MISSING = "trash-missing"
    TARGET_MISSING = "target-missing"
    TARGET_ASTRAY = "target-astray"
    POINTER_MISSING = "pointer-missing"
    POINTER_ASTRAY = "pointer-astray"
    SEED_MISSING = "seed-missing"
    OWNER_ASTRAY = "owner-astray"
    IMAGE_ORPHANED = "image-orphaned"
    DISK_ORPHANED = "disk-orphaned"
    SNAPSHOT_ORPHANED = "snapshot-orphaned"
    TARGET_ORPHANED = "target-orphaned"
    POINTER_ORPHANED = "pointer-orphaned"
    SEED_ORPHANED = "seed-orphaned"
    STAGING_LEFT = "staging-left"
    EXPORT_LEFT = "export-left"
    STRANGER = "stranger"
    NODE_ASTRAY = "node-astray"
    DISK_UNFINISHED = "disk-unfinished"
    IMAGE_UNFINISHED = "image-unfinished"
    END_MISSING = "end-missing"
    END_DOUBLED = "end-doubled"
    SEQUENCE_GAP = "sequence-gap"
    POSITION_GAP = "position-gap"
    CLAIM_LEFT = "claim-left"
    KEY_LEFT = "key-left"
    BOOT_LEFT = "boot-left"
    UPLOAD_LEFT = "upload-left"

    @property
    def about(self) -> About:
        """What is done about it."""
        return ABOUT[self]


_RESTORED = "bmi.export.restore.v1: fence, seed, target, boot pointer"
_REMOVED = "bmi.orphan.remove.v1, when the quarantine is over"
_GONE_DATA = "nothing can bring it back but a backup of the storage, or its trash"
_LOST_EVENT = "nothing: what was said there is lost; subscribers can ask how things stand"
ABOUT: dict[Kind, About] = {
    Kind.IMAGE_MISSING: About(Remedy.NONE, 1, f"{_GONE_DATA}; else remove the image"),
    Kind.DISK_MISSING: About(Remedy.NONE, 1, f"{_GONE_DATA}; else unmap the node, or remove the disk"),
    Kind.TRASH_MISSING: About(Remedy.NONE, 1, "nothing: it can't be restored any more; its row goes when it expires"),
    Kind.TARGET_MISSING: About(Remedy.RESTORE, 1, _RESTORED),
    Kind.TARGET_ASTRAY: About(Remedy.RESTORE, 1, _RESTORED),
    Kind.POINTER_MISSING: About(Remedy.RESTORE, 1, _RESTORED),
    Kind.POINTER_ASTRAY: About(Remedy.RESTORE, 1, _RESTORED),
    Kind.SEED_MISSING: About(Remedy.RESTORE, 1, _RESTORED),
    # A client that loses its watch for a moment has it back before the next look, and needn't be fenced.
    Kind.OWNER_ASTRAY: About(Remedy.RESTORE, 2, f"{_RESTORED}, when a second look sees it, too"),
    Kind.IMAGE_ORPHANED: About(Remedy.REMOVE, 2, f"{_REMOVED}: into the trash"),
    Kind.DISK_ORPHANED: About(Remedy.REMOVE, 2, f"{_REMOVED}: into the trash"),
    Kind.SNAPSHOT_ORPHANED: About(Remedy.REMOVE, 2, _REMOVED),
    Kind.TARGET_ORPHANED: About(Remedy.REMOVE, 2, _REMOVED),
    Kind.POINTER_ORPHANED: About(Remedy.REMOVE, 2, _REMOVED),
    Kind.SEED_ORPHANED: About(Remedy.REMOVE, 2, _REMOVED),
    Kind.STAGING_LEFT: About(Remedy.NONE, 1, "nothing: bmid sweeps the staging folder every ten minutes"),
    Kind.EXPORT_LEFT: About(Remedy.REMOVE, 2, _REMOVED),
    Kind.STRANGER: About(Remedy.NONE, 1, "nothing, ever: it isn't ours; move it to a place of its own"),
    Kind.NODE_ASTRAY: About(Remedy.NONE, 1, "bmi-publish node unmap, which takes what is there away"),
    Kind.DISK_UNFINISHED: About(Remedy.NONE, 1, "send the command again: unmap its node, or remove the disk"),
    Kind.IMAGE_UNFINISHED: About(Remedy.NONE, 1, "bmi-publish image remove, then import it again"),
    Kind.END_MISSING: About(Remedy.WRITE, 1, "a failure is told again; how a success ended, `operation show` says"),
    Kind.END_DOUBLED: About(Remedy.NONE, 1, "nothing: both were said; please report it as a mistake of bmid"),
    Kind.SEQUENCE_GAP: About(Remedy.NONE, 1, _LOST_EVENT),
    Kind.POSITION_GAP: About(Remedy.NONE, 1, _LOST_EVENT),
    Kind.CLAIM_LEFT: About(Remedy.WRITE, 1, "the claim is given back"),
    Kind.KEY_LEFT: About(Remedy.WRITE, 1, "the key is given back"),
    Kind.BOOT_LEFT: About(Remedy.WRITE, 1, "the row goes"),
    Kind.UPLOAD_LEFT: About(Remedy.WRITE, 1, "the row goes"),
}  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One thing that is not as the rows say. `subject` is the id of what it is about, `head` who saw it (SHARED: all
    see the same), `where` the place in it, `what` is wrong and `why` it may be. `node`, `project` and `name` say what
    a remedy has to hold, where that is known; `details` what it has to be told."""

    kind: Kind
    subject: str
    where: str
    what: str
    why: str = ""
    head: str = SHARED
    node: str | None = None
    project: str | None = None
    name: str | None = None
    details: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, str, str]:
        """By this it is the same finding in two looks."""
        return self.kind, self.subject, self.head, self.where


def part(one: Finding) -> str:
    """The part of the world that was looked at for it: `storage`, `target s0`. What didn't answer has no news."""
    return one.where if one.where.startswith("target ") else one.where.partition(" ")[0]


@dataclass(frozen=True)
class Noted:
    """A finding as it is kept until it is gone: since when, and how many looks have seen it."""

    finding: Finding
    first_seen: datetime
    last_seen: datetime
    looks: int


def due(noted: Noted, now: datetime, quarantine: timedelta) -> bool:
    """Whether it may be mended now. What nobody knows is never touched at the first look, nor before its time."""
    remedy, looks, _ = noted.finding.kind.about
    if remedy is Remedy.NONE or noted.looks < looks:
        return False
    return remedy is not Remedy.REMOVE or now - noted.first_seen >= quarantine
