"""What is refused or rejected of copies, exports, imports from pools and updates, in words that name what is wrong."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from bmid.errors import Rejected
from bmid.model.site import Site
from tests.support.plan import handler_of, refused
from tests.support.view import image, project

RBD = {"pool": "theirs", "image": "golden"}
COPY = {"project": "p1", "image": "debian", "to": "copy"}
UPDATE = {"project": "p1", "image": "debian"}

# command, data, rows, slug, words of the text
REFUSALS: list[tuple[str, dict[str, Any], tuple[Any, ...], str, tuple[str, ...]]] = [
    ("image.copy", COPY, (), "project-unknown", ("p1",)),
    ("image.copy", {**COPY, "to_project": "p2"}, (project(), image()), "project-unknown", ("p2",)),
    ("image.copy", COPY, (project(),), "image-unknown", ("p1/debian",)),
    ("image.copy", {**COPY, "image": "p2/debian"}, (project(), image()), "image-unknown", ("p2/debian",)),
    ("image.copy", COPY, (project(), image(ready=False)), "image-unknown", ("debian",)),
    ("image.copy", COPY, (project(), image(), image("copy")), "image-exists", ("copy",)),
    ("image.copy", COPY, (project(), image(), image("copy", ready=False)), "image-exists", ("copy",)),
    ("image.export", {**UPDATE, "to": {"file": "a"}}, (), "project-unknown", ("p1",)),
    ("image.export", {**UPDATE, "to": {"file": "a"}}, (project(),), "image-unknown", ("debian",)),
    ("image.export", {**UPDATE, "to": {"file": "a"}}, (project(), image(project="p2")), "image-unknown", ("debian",)),
    ("image.export", {**UPDATE, "to": {"rbd": RBD}}, (project(), image(ready=False)), "image-unknown", ("debian",)),
    ("image.update", {**UPDATE, "labels": {}}, (), "project-unknown", ("p1",)),
    ("image.update", {**UPDATE, "labels": {}}, (project(), image(project="p2")), "image-unknown", ("p1/debian",)),
    ("image.update", {**UPDATE, "labels": {}}, (project(), image(ready=False)), "image-unknown", ("p1/debian",)),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "data", "rows", "slug", "words"), REFUSALS)
def test_a_refusal_names_what_is_in_the_way(
    kind: str, data: dict[str, Any], rows: tuple[Any, ...], slug: str, words: tuple[str, ...]
) -> None:
    """Its slug is for programs, its text for people."""
    refused(kind, data, rows, slug, words)


BAD: list[tuple[str, dict[str, Any]]] = [
    ("image.import", {"source": {"rbd": RBD, "file": "a"}}),
    ("image.import", {"source": {"rbd": RBD, "upload": "0" * 64}}),
    ("image.import", {"source": {"rbd": RBD}, "format": "raw"}),
    ("image.import", {"source": {"rbd": RBD}, "sha256": "0" * 64}),
    ("image.import", {"source": {"rbd": {"pool": "theirs"}}}),
    ("image.import", {"source": {"rbd": {**RBD, "pool": "a/b"}}}),
    ("image.import", {"source": {"rbd": {**RBD, "image": "a@b"}}}),
    ("image.import", {"source": {"rbd": {**RBD, "image": "a:conf=b"}}}),
    ("image.import", {"source": {"rbd": {**RBD, "image": "-p"}}}),
    ("image.import", {"source": {"rbd": {**RBD, "snapshot": "a b"}}}),
    ("image.import", {"source": {"rbd": {**RBD, "conf": "/etc/passwd"}}}),
    ("image.copy", {}),
    ("image.copy", {"to": "p2/copy"}),
    ("image.copy", {"to": "../copy"}),
    ("image.copy", {"to": "copy", "to_project": "a.b"}),
    ("image.copy", {"to": "copy", "flatten": "perhaps"}),
    ("image.export", {"to": {}}),
    ("image.export", {"to": {"file": "a", "rbd": RBD}}),
    ("image.export", {"to": {"file": "../a"}}),
    ("image.export", {"to": {"file": ".a"}}),
    ("image.export", {"to": {"file": "a/b"}}),
    ("image.export", {"to": {"file": "a", "format": "vmdk"}}),
    ("image.export", {"to": {"file": "a", "token": "secret"}}),
    ("image.export", {"to": {"rbd": RBD, "token": "0" * 64}}),
    ("image.export", {"to": {"rbd": RBD, "format": "raw"}}),
    ("image.export", {"image": "p2/debian", "to": {"file": "a"}}),
    ("image.update", {}),
    ("image.update", {"no_default": False}),
    ("image.update", {"default_for": {}}),
    ("image.update", {"labels": {"a\n": "b"}}),
    ("image.update", {"description": "a\x00b"}),
    ("image.update", {"image": "p2/debian", "labels": {}}),
]


@pytest.mark.parametrize(("kind", "data"), BAD)
def test_what_can_never_be_right_is_not_even_a_command(kind: str, data: dict[str, Any]) -> None:
    """The schema says no, before anything depends on state."""
    with pytest.raises(ValidationError):
        handler_of(kind).command.model_validate({**UPDATE, **data})


POOLS: list[tuple[str, dict[str, Any]]] = [
    ("image.import", {"project": "p1", "image": "i", "source": {"rbd": RBD}}),
    ("image.export", {"project": "p1", "image": "i", "to": {"rbd": RBD}}),
]


@pytest.mark.parametrize(("kind", "data"), POOLS)
def test_a_pool_that_the_settings_do_not_list_is_never_acceptable(kind: str, data: dict[str, Any]) -> None:
    """One list doesn't count for the other way; the answer says which there are."""
    handler = handler_of(kind)
    command = handler.command.model_validate(data)
    mine, other = ("import_pools", "export_pools") if "import" in kind else ("export_pools", "import_pools")
    for pools in ({}, {other: ("theirs",)}, {mine: ("listed",)}):
        with pytest.raises(Rejected) as caught:
            handler.accept(command, Site(**pools))  # type: ignore[arg-type]
        assert caught.value.problem.slug == "pool-not-listed"
        assert "theirs" in caught.value.problem.detail
        assert all(name in caught.value.problem.todo for name in pools.get(mine, ()))
    handler.accept(command, Site(**{mine: ("listed", "theirs")}))  # type: ignore[arg-type]
