"""How a command of a memory-twin site comes to run, for tests that interrupt it; the recipes of images are here too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bmid.model.operation import Operation
from tests.support.bench import Bench

__all__ = ["IMAGE_RECIPES", "Recipe", "public"]

CONTENT = b"\xeb" + bytes((1 << 17) - 1)


def furnished(bench: Bench) -> None:
    """A project, an image, a node."""
    bench.furnish("n1")


def public(kind: str, **data: Any) -> Callable[[Bench], Operation]:
    """A command as it comes from the bus."""
    return lambda bench: bench.command(kind, **data)


@dataclass(frozen=True)
class Recipe:
    """How a command comes to run. `again`: sent once more after a failure, it succeeds."""

    name: str
    send: Callable[[Bench], Operation]
    prepare: Callable[[Bench], None] = furnished
    again: bool = True


def _upload(bench: Bench) -> Operation:
    one = bench.command("image.import", project="p1", image="new", source={"upload": "0" * 64})
    bench.upload(one.id, CONTENT)
    return one


def _strange(bench: Bench) -> None:
    """Somebody keeps an image in a pool of theirs."""
    bench.furnish("n1")
    bench.storage.put_foreign("theirs", "golden", 1 << 17, CONTENT[:512], {"s1": CONTENT[:512]})


def _without_clones(bench: Bench) -> None:
    """A storage that can't share bytes."""
    bench.storage.capabilities = type(bench.storage.capabilities)(False, True, False, True)
    bench.furnish("n1")


def _default(bench: Bench) -> None:
    """An image that the project means by labels."""
    bench.furnish("n1")
    bench.do("image.update", project="p1", image="debian", default_for={"os": "debian"})


def _removed(bench: Bench) -> None:
    """An image in the trash."""
    bench.furnish("n1")
    bench.do("image.remove", project="p1", image="debian")


COPY = {"project": "p1", "image": "debian", "to": "copy"}
EXPORT = {"project": "p1", "image": "debian"}
IMAGE_RECIPES: dict[str, list[Recipe]] = {
    "bmi.image.maintenance.v1": [
        Recipe("on", public("image.maintenance", project="p1", image="debian", action="on", reason="it panics"))
    ],
    "bmi.image.import.v1": [
        Recipe("file", public("image.import", project="p1", image="new", source={"file": "debian.raw"})),
        Recipe("upload", _upload, again=False),
        Recipe(
            "rbd",
            public("image.import", project="p1", image="new", source={"rbd": {"pool": "theirs", "image": "golden"}}),
            _strange,
        ),
    ],
    "bmi.image.remove.v1": [Recipe("remove", public("image.remove", project="p1", image="debian"), _default)],
    "bmi.image.restore.v1": [
        Recipe("restore", public("image.restore", project="p1", image="debian"), _removed),
        Recipe("renamed", public("image.restore", project="p1", image="debian", name="again"), _removed),
    ],
    "bmi.image.copy.v1": [
        Recipe("clone", public("image.copy", **COPY)),
        Recipe("flat", public("image.copy", **COPY, flatten=True)),
        Recipe("no-clones", public("image.copy", **COPY), _without_clones),
    ],
    "bmi.image.export.v1": [
        Recipe("file", public("image.export", **EXPORT, to={"file": "debian.qcow2", "token": "0" * 64})),
        Recipe("rbd", public("image.export", **EXPORT, to={"rbd": {"pool": "theirs", "image": "new"}})),
    ],
    "bmi.image.update.v1": [
        Recipe(
            "update",
            public("image.update", project="p1", image="debian", labels={"a": "b"}, default_for={"os": "new"}),
            _default,
        )
    ],
}
