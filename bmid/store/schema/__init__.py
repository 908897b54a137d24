"""The tables. What changes here needs a migration beside it."""

from __future__ import annotations

from bmid.store.schema.audit import finding, look
from bmid.store.schema.base import METADATA, REVISION
from bmid.store.schema.bus import counter, identity, inbox, outbox, upload
from bmid.store.schema.site import boot, disk, head, image, image_default, network, node, node_mac, portal, project
from bmid.store.schema.trash import trash
from bmid.store.schema.work import COMMAND_NODE, claim, operation, operation_key

__all__ = [
    "COMMAND_NODE",
    "METADATA",
    "REVISION",
    "boot",
    "claim",
    "counter",
    "disk",
    "finding",
    "head",
    "identity",
    "image",
    "image_default",
    "inbox",
    "look",
    "network",
    "node",
    "node_mac",
    "operation",
    "operation_key",
    "outbox",
    "portal",
    "project",
    "trash",
    "upload",
]
