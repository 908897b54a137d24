"""Whole labs for tests, and a tenant who gives commands in them. Each is ended in any case, by whoever made it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bmi_publish import BOOTED, Client, Result
from bmid.handlers.create_project import CreateProject
from bmid.handlers.import_image import ImageSource, ImportImage
from bmid.handlers.map_node import MapNode
from bmid.handlers.unmap_node import UnmapNode
from bmid.messages.base import Command
from lab.image.tiny import TinyImage
from lab.layout import Layout
from lab.site import Site

PROJECT = "p1"
CACHE = Path(__file__).parent.parent.parent / ".cache"


class Tenant:
    """Project p1 in a lab, with the image `tiny` as soon as somebody asks for it."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._imported: set[str] = set()

    def do(self, *commands: Command, timeout: float = 60, booted: bool = False) -> list[Result]:
        """Send commands side by side and wait for their ends, or for the boots that follow."""
        with self.site.client() as client:
            return client.wait_all([client.ticket(one) for one in commands], timeout, until=BOOTED if booted else None)

    def image(self, name: str, file: Path) -> str:
        """The golden image of that name, imported from the file if it isn't there yet."""
        if name not in self._imported:
            shutil.copy(file, self.site.bmid.imports / f"{name}.raw")
            [result] = self.do(
                ImportImage(project=PROJECT, image=name, source=ImageSource(file=f"{name}.raw")), timeout=180
            )
            assert result.ok, result
            self._imported.add(name)
        return name

    def tiny(self) -> str:
        """The tiny image."""
        return self.image("tiny", TinyImage(CACHE).build())

    def map(self, *nodes: str, image: str | None = None, timeout: float = 120, **options: object) -> list[Result]:
        """Map nodes side by side, and wait until they have booted (or could not)."""
        image = image or self.tiny()
        commands = (MapNode(project=PROJECT, node=node, image=image, **options) for node in nodes)
        return self.do(*commands, timeout=timeout, booted=True)

    def unmap(self, *nodes: str, force: bool = False) -> list[Result]:
        """Unmap nodes side by side."""
        return self.do(*(UnmapNode(project=PROJECT, node=node, force=force) for node in nodes))


@contextmanager
def standing(
    layout: Layout, request: pytest.FixtureRequest, settings: dict[str, dict[str, object]] | None = None
) -> Iterator[Tenant]:
    """A lab with a project; its folder (logs, data) stays only where a test has failed."""
    folder = Path(tempfile.mkdtemp(prefix="bmi-site-"))
    site = Site(folder, layout, settings)
    failed = request.session.testsfailed
    try:
        site.up()
        tenant = Tenant(site)
        [result] = tenant.do(CreateProject(project=PROJECT))
        assert result.ok, result
        yield tenant
    finally:
        site.down(keep=request.session.testsfailed > failed)


def marker(site: Site, node: str, text: str = "BMI-TINY", seconds: float = 5) -> dict[str, str]:
    """What the system of a node says of itself on its console."""
    line = site.node(node).wait_for_console(text, seconds)
    return dict(part.split("=", 1) for part in line.split()[1:])


__all__ = ["CACHE", "PROJECT", "Client", "Tenant", "marker", "standing"]
