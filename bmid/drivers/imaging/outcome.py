"""What the output of a child means: how far it is, what it found, and what its last complaint says of a retry.

No process is started or ended here.
"""

from __future__ import annotations

import json
import re
from typing import Any

from bmid.drivers.base import ImageFile, Job, JobState
from bmid.drivers.imaging.child import Child

__all__ = ["read_copy", "read_export", "read_inspection"]

# `(12.50/100%)` from qemu-img, `12% complete` from Ceph's tools.
_PERCENT = re.compile(r"\((\d+(?:\.\d+)?)/100%\)|(\d+)% complete")
_COPIED = 0.8  # the share of an export that is copying; the rest is the digest

# What the ends of the tools' complaints mean: words, problem, whether a retry could help.
_Complaints = tuple[tuple[tuple[str, ...], str, str, bool], ...]
_SLOW = (("timed out",), "storage-timeout", "the storage did not answer in time", True)
_FORBIDDEN = (
    ("Operation not permitted", "Permission denied"),
    "pool-forbidden",
    "the storage refuses our user in one of the two places: in a pool of Ceph it needs `profile rbd`, also to read",
    False,
)
_MEMORY = (("allocate memory",), "imaging-memory", "the conversion needs more memory than its limit allows", False)
_FULL = (("No space left", "quota"), "pool-full", "the storage is full: free space in it", True)
_DAMAGED = (
    ("error while reading",),
    "image-damaged",
    "the file can't be read to its end: copy or upload it again",
    False,
)
_NO_SPACE = (("No space left", "quota"), "no-space", "the folder of the file is full: free space in it", True)
_OF_FILE: _Complaints = (_FULL, _SLOW, _DAMAGED, _MEMORY)
_OF_COPY: _Complaints = (_FULL, _SLOW, _FORBIDDEN, _MEMORY)
_OF_EXPORT: _Complaints = (_NO_SPACE, _SLOW, _MEMORY)


def read_inspection(child: Child, code: int | None) -> Job:
    """The lines of `inspection`."""
    lines = _lines(child)
    last = lines[-1] if lines else {}
    if code is None:
        return Job(JobState.RUNNING, last.get("done", 0), last.get("total", 0))
    if "found" in last:
        found = ImageFile(**last["found"])
        return Job(JobState.DONE, found.size, found.size, found)
    if "problem" in last:
        slug, detail, retry = last["problem"]
        return Job(JobState.FAILED, problem=(slug, detail, retry))
    return _died(child, code, _OF_FILE)


def read_copy(child: Child, code: int | None, size: int, from_file: bool) -> Job:
    """The percents of a tool that copies `size` bytes; `from_file`: out of a file that somebody sent."""
    if code is None:
        return Job(JobState.RUNNING, int(_share(child) * size), size)
    if code == 0:
        return Job(JobState.DONE, size, size)
    return _died(child, code, _OF_FILE if from_file else _OF_COPY)


def read_export(child: Child, code: int | None, size: int, format: str) -> Job:
    """The percents of the copying and the lines of `export`."""
    lines = _lines(child)
    last = lines[-1] if lines else {}
    if code is None:
        share = _COPIED * _share(child) + (1 - _COPIED) * last.get("digested", 0)
        return Job(JobState.RUNNING, int(share * size), size)
    if code == 0 and "sha256" in last:
        return Job(JobState.DONE, size, size, ImageFile(format, None, last["size"], size, last["sha256"]))
    return _died(child, code, _OF_EXPORT)


def _lines(child: Child) -> list[dict[str, Any]]:
    lines = child.output().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]


def _share(child: Child) -> float:
    """How much is done, of 1; Ceph's tools tell it where others complain."""
    percents = _PERCENT.findall(child.output()) or _PERCENT.findall(child.errors())
    return float(percents[-1][0] or percents[-1][1]) / 100 if percents else 0.0


def _died(child: Child, code: int, complaints: _Complaints) -> Job:
    if child.overdue or code == -24:  # SIGXCPU
        detail = "the work on the image took longer than its limit: take a smaller image, or have the limit raised"
        return Job(JobState.FAILED, problem=("imaging-timeout", detail, False))
    complaint = child.errors().strip()
    for words, slug, detail, retry in complaints:
        if any(word in complaint for word in words):
            return Job(JobState.FAILED, problem=(slug, detail, retry))
    last = complaint.rpartition("\n")[2][-300:]
    return Job(JobState.FAILED, problem=("imaging-failed", f"the work on the image ended with {code}: {last}", True))
