"""What tenants may expect of disks: the part of the model of a site that knows of nodes only which disks they are on.
Nothing of bmid is used."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tests.support.expectation_image import End, Images

__all__ = ["Disk", "Disks", "told"]

Seed = tuple[str | None]  # what its new system was told, besides a name


@dataclass(frozen=True)
class Disk:
    """A disk, as its project understands it. One that was made by a map has a name that nobody chose."""

    project: str
    image: str
    name: str | None = None
    host: str | None = None
    seed: Seed | None = None


def told(hostname: str | None, user_data: str | None) -> Seed | None:
    """What a new system is told, if anything."""
    return (user_data,) if hostname or user_data else None


@dataclass
class Disks(Images):
    """Each public method is a command, and says how it must end."""

    maps: dict[str, Disk] = field(default_factory=dict)  # by node
    parked: list[Disk] = field(default_factory=list)
    discarded: list[tuple[Disk, int]] = field(default_factory=list)  # and the id of its image

    def _disks(self) -> list[Disk]:
        return [*self.maps.values(), *self.parked]

    def _discard(self, disk: Disk) -> None:
        self.discarded.append((disk, self.ids[disk.image]))

    def _used(self) -> set[str]:
        return {disk.image for disk in self._disks()}

    def _named(self, project: str, name: str) -> Disk | None:
        return next((one for one in self._disks() if (one.project, one.name) == (project, name)), None)

    def _kept(self, project: str, name: str) -> Disk | str:
        """The parked disk, or why there is none."""
        if project not in self.projects:
            return "project-unknown"
        disk = self._named(project, name)
        if disk is None:
            return "disk-unknown"
        return disk if disk in self.parked else "disk-mapped"

    def disk_create(self, project: str, disk: str, image: str) -> End:
        if project not in self.projects:
            return "project-unknown"
        if image not in self.images:
            return "image-unknown"
        known = self._named(project, disk)
        if known is not None:
            return False if known in self.parked and known.image == image else "disk-exists"
        if self._rests(image):
            return "image-set-aside"
        self.parked.append(Disk(project, image, disk))
        return True

    def disk_remove(self, project: str, disk: str) -> End:
        known = self._named(project, disk)
        if known is not None and known not in self.parked:
            return "disk-mapped"
        if known is not None:
            self.parked.remove(known)
            self._discard(known)
        return known is not None

    def disk_restore(self, project: str, disk: str, name: str | None) -> End:
        if project not in self.projects:
            return "project-unknown"
        found = [one for one in self.discarded if (one[0].project, one[0].name) == (project, disk)]
        if not found:
            return "trash-unknown"
        image = self._alive(found[-1][1])
        if image is None:
            return self._origin_gone(found[-1][1])
        if self._named(project, name or disk):
            return "disk-exists"
        self.discarded.remove(found[-1])
        self.parked.append(replace(found[-1][0], image=image, name=name or disk))
        return True

    def disk_snapshot(self, project: str, disk: str, image: str) -> End:
        kept = self._kept(project, disk)
        if isinstance(kept, str):
            return kept
        if f"{project}/{image}" in self.images:
            return "image-exists"
        self._make(f"{project}/{image}", kept.image)
        return True
