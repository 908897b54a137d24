"""The ports: what the engine asks of storage, target, boot, power, imaging and isolation.

Every call is idempotent ("ensure"), blocks its thread for a bounded time, and raises TransientError where a
later try may work, PermanentError where none will. Names that reach a port are ids of ours, never text of a user.
"""

from __future__ import annotations

from bmid.drivers.base.boot import Boot, BootEntry, Pointer
from bmid.drivers.base.imaging import ImageFile, Imaging, Job, JobState
from bmid.drivers.base.isolation import Isolation
from bmid.drivers.base.power import Power, PowerAction, PowerState
from bmid.drivers.base.seed import Seeds
from bmid.drivers.base.storage import (
    Backing,
    Errand,
    Foreign,
    Storage,
    StorageCapabilities,
    Stored,
    TrashEntry,
    Usage,
)
from bmid.drivers.base.target import Export, ExportStatus, Session, Target

__all__ = [
    "Backing",
    "Boot",
    "BootEntry",
    "Errand",
    "Export",
    "ExportStatus",
    "Foreign",
    "ImageFile",
    "Imaging",
    "Isolation",
    "Job",
    "JobState",
    "Pointer",
    "Power",
    "PowerAction",
    "PowerState",
    "Seeds",
    "Session",
    "Storage",
    "StorageCapabilities",
    "Stored",
    "Target",
    "TrashEntry",
    "Usage",
]
