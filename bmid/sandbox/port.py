"""The ports of a sandbox: drivers in memory, with a disk that boots anywhere and with the faults of labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, cast

from bmid.drivers.base import Storage
from bmid.engine.identity import Ports
from bmid.engine.turn import Turn
from bmid.model.operation import Phase
from bmid.sandbox.disk import bootable_disk
from bmid.sandbox.fault import Faults, FaultyMapping, FaultyPort
from bmid.steps.base import World

__all__ = ["SandboxPorts"]


@dataclass(frozen=True)
class SandboxPorts(Ports):
    """`labels` finds the labels of a node."""

    labels: Callable[[str], Mapping[str, str]]
    faults: Faults = field(default_factory=Faults)

    def world(self, turn: Turn) -> World:
        """As everywhere, and with the faults of the node that the operation is about."""
        world = super().world(turn)
        world = replace(world, storage=cast(Storage, _Bootable(world.storage)))
        node = str(turn.record.command.get("node") or "")
        labels = self.labels(node) if node else {}
        if not labels or turn.record.phase is Phase.REVERTING:
            return world
        ports: dict[str, Any] = {}
        for name in ("storage", "target", "boot", "isolation", "seeds", "power"):
            before = partial(self.faults.before, turn.operation, node, labels, name)
            port = getattr(world, name)
            ports[name] = FaultyMapping(port, before) if isinstance(port, Mapping) else FaultyPort(port, before)
        return replace(world, **ports)


class _Bootable:
    """A storage whose images all look as if any firmware could start them: their bytes aren't kept."""

    def __init__(self, storage: Any) -> None:
        self._storage = storage

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def read_image(self, image: str, offset: int, length: int) -> bytes:
        """Of every image the same."""
        return bootable_disk()[offset:][:length]
