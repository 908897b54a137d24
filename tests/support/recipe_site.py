"""How the site's own commands come to run, for tests that interrupt them: looks at the world, and what they mend."""

from __future__ import annotations

from typing import Any

from bmid.handlers.reconcile_site import ReconcileSite
from bmid.handlers.remove_orphan import RemoveOrphan
from bmid.model.finding import Kind
from bmid.model.operation import Operation
from tests.support.bench import SITE, Bench
from tests.support.recipe import Recipe

__all__ = ["ORPHAN", "SITE_RECIPES", "look", "orphan"]

ORPHAN = "0" * 31 + "9"


def orphan(bench: Bench, identifier: str = ORPHAN) -> None:
    """A disk that says that it is ours, and has no row."""
    metadata = {"kind": "disk", "site": SITE, "id": identifier, "project": "p1", "name": "old"}
    bench.storage.clone(bench.view().images()[0].id, identifier, metadata)


def look(bench: Bench, **more: Any) -> dict[str, Any]:
    """One look, and what it says."""
    one = bench.submit(ReconcileSite(head="h1", shared=True, **more))
    bench.settle()
    return dict(bench.final(one.id)["data"])


def _lost(bench: Bench) -> None:
    bench.furnish("n1")
    bench.do("node.map", project="p1", node="n1", image="debian")
    bench.target.restart("0")


def _orphaned(bench: Bench) -> None:
    bench.furnish("n1")
    orphan(bench)


def _reconcile(bench: Bench) -> Operation:
    return bench.submit(ReconcileSite(head="h1", shared=True))


def _remove(bench: Bench) -> Operation:
    details = {"metadata": "{}"}
    return bench.submit(RemoveOrphan(kind=Kind.DISK_ORPHANED, id=ORPHAN, head="", details=details))


SITE_RECIPES: dict[str, list[Recipe]] = {
    "bmi.site.reconcile.v1": [Recipe("lost", _reconcile, _lost)],
    "bmi.orphan.remove.v1": [Recipe("disk", _remove, _orphaned)],
}
