"""What a head does again and again besides its work: forget, sweep, empty the trash, look whether all is right."""

from __future__ import annotations

from collections.abc import Callable

from bmid.engine.acceptance import Acceptance
from bmid.engine.identity import Identity, Ports
from bmid.scheduler.childcare import Childcare
from bmid.scheduler.housekeeping import Housekeeping
from bmid.scheduler.purge import Purge
from bmid.scheduler.reconciling import Reconciling
from bmid.scheduler.service import Clockwork
from bmid.settings import Settings
from bmid.store.database import Database

__all__ = ["make_clockwork"]


def make_clockwork(
    settings: Settings,
    database: Database,
    identity: Identity,
    ports: Ports,
    acceptance: Acceptance,
    notify: Callable[[], None],
) -> Clockwork:
    """All jobs with their intervals in seconds; not started."""
    holder, engine = identity.holder, settings.engine
    images = settings.images
    housekeeping = Housekeeping(database, holder, images.staging_folder, engine.retention_days, images.export_folder)
    purge = Purge(database, holder, ports.lanes.watched("storage", ports.storage), settings.storage.urgent_free)
    reconciling = Reconciling(database, holder, engine.reconcile_every, engine.dead_after, acceptance.submit, notify)
    children = Childcare(database, ports.imaging, identity.head)
    clockwork = Clockwork()
    clockwork.every(600, "forget", housekeeping.forget)
    clockwork.every(600, "sweep", housekeeping.sweep)
    clockwork.every(10, "children", children.run_once)
    clockwork.every(60, "purge", purge.run_once)
    clockwork.every(10, "reconcile", reconciling.run_once)
    return clockwork
