"""What to do about errors that several backends raise: the same words for the same trouble, whichever it is."""

from __future__ import annotations

__all__ = [
    "ABSENT",
    "BUSY",
    "DOWN",
    "GARBLED",
    "IN_USE",
    "MISSING",
    "NO_PLACE",
    "SEALED",
    "UNCLEAR",
    "UNTRASHED",
    "VALUE",
]

# Of the storage.
MISSING = "Ask the site's operator: `bmid fsck` says what isn't there, and which disks and images need it."
IN_USE = "Remove the disks and images made from it first."
BUSY = "It is tried again. If it stays so, `rbd status` and `rbd trash ls` show who has it open."
UNTRASHED = "It can't be brought back any more. The site's operator sees in the storage what is left of it."
SEALED = "This is a mistake of ours: please report it, with what bmid's log says of the operation."
UNCLEAR = "It is tried again. If it stays so: only the tgtd of its head may have the disk open, look who else does."
NO_PLACE = "Look at the folders of [boot] in the settings: they must be there, with room, and writable for bmid."
# Of targets.
ABSENT = "It is tried again, from the top. If it stays so, see who else makes and removes targets of this tgtd."
GARBLED = "It is tried again. If it stays so, see whether bmid knows this tgtd's version: `bmid check`."
VALUE = "Look at the names and paths in the settings, and in the command: tgtd takes no such characters."
# Of BMCs.
DOWN = "Look at the BMC, its address, and the way to it."
