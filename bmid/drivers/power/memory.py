"""The memory twin of a power driver: switches in a dictionary, some of which lie."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bmid.drivers.base import Power, PowerAction, PowerState
from bmid.drivers.base.advice import DOWN
from bmid.errors import TransientError
from bmid.model.entity import PowerAddress

__all__ = ["MemoryPower", "Switch"]


@dataclass
class Switch:
    """A BMC. `lies`: takes requests and does nothing. `dead`: out of reach. `starts` counts powerings-on, and
    `network_once` says that the next one is from the network."""

    state: PowerState = PowerState.OFF
    lies: bool = False
    dead: bool = False
    network_once: bool = False
    starts: int = 0


class MemoryPower(Power):
    """Thread-safe. `before` is called with each call's name and arguments, and may raise.

    `switches` are the BMCs by address; one that isn't there comes into being, off.
    """

    def __init__(self, before: Callable[[str, tuple[Any, ...]], None] | None = None) -> None:
        self.before = before
        self.switches: dict[str, Switch] = {}
        self._lock = threading.Lock()

    def switch(self, address: str) -> Switch:
        """The BMC at an address."""
        with self._lock:
            return self.switches.setdefault(address, Switch())

    def check(self, bmc: PowerAddress) -> str:
        self._reached("check", bmc)
        return "memory"

    def state(self, bmc: PowerAddress) -> PowerState:
        return self._reached("state", bmc).state

    def request(self, bmc: PowerAddress, action: PowerAction) -> None:
        switch = self._reached("request", bmc, action)
        with self._lock:
            if switch.lies:
                return
            if action is PowerAction.OFF:
                switch.state = PowerState.OFF
            elif action is PowerAction.CYCLE or switch.state is not PowerState.ON:
                switch.state = PowerState.ON
                switch.starts += 1
                switch.network_once = False

    def boot_from_network_once(self, bmc: PowerAddress) -> None:
        self._reached("boot_from_network_once", bmc).network_once = True

    def _reached(self, name: str, bmc: PowerAddress, *arguments: object) -> Switch:
        if self.before is not None:
            self.before(name, (bmc, *arguments))
        switch = self.switch(bmc.address)
        if switch.dead:
            raise TransientError("bmc-down", f"the BMC at {bmc.address} can't be reached", todo=DOWN)
        return switch
