"""What many commands need to be there, or else refuse with the same words. No message of its own."""

from __future__ import annotations

from collections.abc import Mapping

from bmid.errors import Refused
from bmid.handlers.base import View
from bmid.model.entity import Disk, DiskState, Firmware, Image, Node
from bmid.model.name import split_image

__all__ = [
    "image_of",
    "require_bootable",
    "require_free_image",
    "require_image",
    "require_mapped",
    "require_node",
    "require_own",
    "require_parked",
    "require_project",
    "require_usable",
]


def require_project(view: View, project: str) -> None:
    """The project is known."""
    if view.project(project) is None:
        detail = f"there is no project {project}"
        raise Refused("project-unknown", detail, todo=f"Create it: bmi-publish project create {project}")


def require_node(view: View, name: str) -> Node:
    """The node is known."""
    node = view.node(name)
    if node is None:
        todo = f"bmi-publish node list shows them. A new one: bmi-publish node register {name} --mac ..."
        raise Refused("node-unknown", f"there is no node {name}", todo=todo)
    return node


def require_usable(thing: Node | Image) -> None:
    """The node, or the image, is not set aside."""
    if thing.aside is None:
        return
    kind, name = ("node", thing.name) if isinstance(thing, Node) else ("image", thing.reference)
    words = thing.name if isinstance(thing, Node) else f"{thing.name} --project {thing.project}"
    slug = "node-set-aside" if isinstance(thing, Node) else "image-set-aside"
    aside = thing.aside
    detail = f"{kind} {name} is in {aside.state.value} since {aside.since}: {aside.reason}"
    todo = f"Take another one, or wait. When it is mended: bmi-publish {kind} maintenance {words} --action off"
    raise Refused(slug, detail, todo=todo, state=aside.state.value, since=aside.since, problem=aside.problem)


def require_mapped(view: View, project: str, name: str) -> tuple[Node, Disk]:
    """The node is on a disk of the project, and nothing of that is half done."""
    node = require_node(view, name)
    disk = view.disk(node.disk) if node.disk else None
    if disk is None:
        raise Refused("node-not-mapped", f"node {name} is not mapped", todo=f"bmi-publish node map {name} ...")
    require_own(disk, project)
    if disk.state is not DiskState.MAPPED:
        detail = f"disk {disk.name} of node {name} is {disk.state.value}"
        raise Refused("disk-not-ready", detail, todo="An unmap that did not end goes on when it is sent again.")
    return node, disk


def require_own(disk: Disk, project: str) -> None:
    """The disk that a node is on is the project's."""
    if disk.project != project:
        detail = f"node {disk.node} is not mapped by project {project}"
        raise Refused("node-of-another-project", detail, todo="Name the project that mapped it.")


def image_of(view: View, disk: Disk) -> Image:
    """The image that a disk was made from, which can't be removed before it."""
    image = view.image_by_id(disk.image)
    assert image is not None  # noqa: S101 - a disk's row refers to its image's row
    return image


def require_image(view: View, reference: str | None, labels: Mapping[str, str] | None, project: str) -> Image:
    """The golden image that is meant by `image`, `project/image`, or a set of labels that the project has one for."""
    if reference is None:
        # By labels there is no key of the image. Its removal raises this counter too: one of us looks, then the other.
        view.number()
        image = view.default_image(project, labels or {})
        if image is None or not image.ready:
            said = ", ".join(f"{key}={value}" for key, value in sorted((labels or {}).items()))
            todo = "Name an image, or make one the default for these labels: bmi-publish image update."
            raise Refused("image-unknown", f"project {project} has no default image for {said}", todo=todo)
        return image
    owner, name = split_image(reference, project)
    image = view.image(owner, name)
    if image is None or not image.ready:
        raise Refused("image-unknown", f"there is no image {owner}/{name}", todo="bmi-publish image list shows them.")
    return image


def require_free_image(view: View, project: str, name: str) -> None:
    """The project is known, and has no image of that name."""
    require_project(view, project)
    if view.image(project, name) is not None:
        detail = f"project {project} has an image {name} already"
        raise Refused("image-exists", detail, todo="Remove it first, or choose another name.")


def require_parked(view: View, project: str, name: str) -> Disk:
    """The project has the disk, and no node has it."""
    require_project(view, project)
    disk = view.disk_named(project, name)
    if disk is None:
        detail = f"project {project} has no disk {name}"
        raise Refused("disk-unknown", detail, todo="bmi-publish disk list shows them.")
    if disk.node is not None:
        todo = f"Unmap it first: bmi-publish node unmap {disk.node} --disk park"
        raise Refused("disk-mapped", f"disk {name} is on node {disk.node}", todo=todo, node=disk.node)
    if disk.state is not DiskState.PARKED:
        detail = f"disk {name} is {disk.state.value}"
        raise Refused(
            "disk-not-ready", detail, todo="See bmi-publish operation list; a removal goes on when sent again."
        )
    return disk


def require_bootable(image: Image, node: Node, *, force: bool) -> None:
    """The image boots in the node's firmware mode, as far as is known."""
    fits = bool(image.firmware) if node.firmware is Firmware.ANY else node.firmware.value in image.firmware
    if fits or force:
        return
    modes = " and ".join(image.firmware) or "in no firmware mode that was recognised"
    raise Refused(
        "firmware-mismatch",
        f"image {image.name} boots {modes}; node {node.name} has firmware {node.firmware.value}",
        todo="Choose another image, register the node's firmware anew, or send the command with force: true.",
        firmware=list(image.firmware),
    )
