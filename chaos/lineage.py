"""What each disk was made from, by the plans of all operations: golden files and other disks, however far back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["Lineage"]


class Lineage:
    """`operations` are id, command and plan of all operations; an image has the id of the operation that made it."""

    def __init__(self, operations: Iterable[tuple[str, Mapping[str, Any], Mapping[str, Any] | None]]) -> None:
        self._image_of: dict[str, str] = {}  # disk → image
        self._made_of: dict[str, str] = {}  # image → "image ID", "disk ID" or "file NAME"
        for operation, command, plan in operations:
            file = (command.get("source") or {}).get("file")
            if file:
                self._made_of[operation] = f"file {file}"
            for step in (one for stage in (plan or {}).get("stages", ()) for one in stage):
                if step["kind"] == "clone-disk":
                    self._image_of[step["disk"]] = step["image"]
                elif step["kind"] == "copy-stored":
                    self._made_of[step["image"]] = f"image {step['source']}"
                elif step["kind"] == "duplicate-disk":
                    self._made_of[step["image"]] = f"disk {step['disk']}"

    def of(self, disk: str) -> set[str]:
        """Whose bytes a disk may hold besides its own: disks by id, golden files as `golden-NAME`."""
        found: set[str] = set()
        image = self._image_of.get(disk)
        while image is not None:
            kind, _, what = self._made_of.get(image, "").partition(" ")
            if kind == "file":
                found.add(f"golden-{what.removesuffix('.raw')}")
            if kind == "disk":
                found.add(what)
            image = what if kind == "image" else self._image_of.get(what) if kind == "disk" else None
        return found
