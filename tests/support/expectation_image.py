"""What tenants may expect of images: the part of the model of a site that knows no nodes. Nothing of bmid is used."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["End", "Images"]

End = bool | str  # of a command: whether it changed anything, or the problem that ended it
Labels = dict[str, str]


@dataclass
class Images:
    """Projects and their golden images. Each public method is a command, and says how it must end."""

    projects: set[str] = field(default_factory=set)
    images: dict[str, str | None] = field(default_factory=dict)  # project/image, and what it was made from
    defaults: dict[tuple[str, str], str] = field(default_factory=dict)  # by project and labels
    exports: set[str] = field(default_factory=set)  # files
    ids: dict[str, int] = field(default_factory=dict)  # of images: a name may mean another one later
    made: int = 0
    resting: set[int] = field(default_factory=set)  # ids of images that are set aside
    removed: list[tuple[str, int, int | None]] = field(default_factory=list)  # name, id, and that of its origin

    def _used(self) -> set[str]:
        """Images that disks hang on."""
        return set()

    def _make(self, name: str, origin: str | None) -> None:
        self.made += 1
        self.images[name], self.ids[name] = origin, self.made

    def _alive(self, image: int) -> str | None:
        """What an image is called now, if it is there."""
        return next((name for name, one in self.ids.items() if one == image), None)

    def _origin_gone(self, image: int) -> str:
        """Why nothing that was made from it can be restored."""
        return "parent-in-trash" if image in [one for _, one, _ in self.removed] else "image-unknown"

    def _meant(self, project: str, labels: Labels) -> str:
        """The image that a project means by labels; a name that none has, where there is none."""
        return self.defaults.get((project, str(sorted(labels.items()))), "none")

    def image_import(self, project: str, image: str, source: dict[str, str]) -> End:
        if project not in self.projects:
            return "project-unknown"
        if f"{project}/{image}" in self.images:
            return "image-exists"
        if source["file"] == "absent.raw":
            return "file-unknown"
        self._make(f"{project}/{image}", None)
        return True

    def image_copy(self, project: str, image: str, to: str, to_project: str | None, flatten: bool) -> End:
        target = to_project or project
        if project not in self.projects or target not in self.projects:
            return "project-unknown"
        if f"{target}/{to}" in self.images:
            return "image-exists"
        if image not in self.images:
            return "image-unknown"
        self._make(f"{target}/{to}", None if flatten else image)
        return True

    def image_maintenance(self, project: str, image: str, action: str, reason: str) -> End:
        name = f"{project}/{image}"
        if project not in self.projects:
            return "project-unknown"
        if name not in self.images:
            return "image-unknown"
        changed = (self.ids[name] in self.resting) != (action == "on")
        (self.resting.add if action == "on" else self.resting.discard)(self.ids[name])
        return changed

    def _rests(self, image: str) -> bool:
        return self.ids[image] in self.resting

    def image_update(self, project: str, image: str, default_for: Labels | None, no_default: bool) -> End:
        name = f"{project}/{image}"
        if project not in self.projects:
            return "project-unknown"
        if name not in self.images:
            return "image-unknown"
        before = dict(self.defaults)
        if no_default:
            self.defaults = {key: one for key, one in before.items() if one != name}
        if default_for:
            self.defaults[project, str(sorted(default_for.items()))] = name
        return self.defaults != before

    def image_export(self, project: str, image: str, to: dict[str, str]) -> End:
        if project not in self.projects:
            return "project-unknown"
        if f"{project}/{image}" not in self.images:
            return "image-unknown"
        if to["file"] in self.exports:
            return "export-exists"
        self.exports.add(to["file"])
        return True

    def image_remove(self, project: str, image: str) -> End:
        name = f"{project}/{image}"
        if name in self._used() or name in self.images.values():
            return "image-in-use"
        self.defaults = {key: one for key, one in self.defaults.items() if one != name}
        if name not in self.images:
            return False
        origin = self.images.pop(name)
        self.removed.append((name, self.ids.pop(name), self.ids[origin] if origin else None))
        return True

    def image_restore(self, project: str, image: str, name: str | None) -> End:
        if project not in self.projects:
            return "project-unknown"
        found = [one for one in self.removed if one[0] == f"{project}/{image}"]
        if not found:
            return "trash-unknown"
        _, identity, origin = found[-1]
        if origin is not None and self._alive(origin) is None:
            return self._origin_gone(origin)
        new = f"{project}/{name or image}"
        if new in self.images:
            return "image-exists"
        self.removed.remove(found[-1])
        self.images[new], self.ids[new] = self._alive(origin) if origin is not None else None, identity
        return True
