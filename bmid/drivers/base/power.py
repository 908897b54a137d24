"""The power port: what can be asked of a BMC, and what it says."""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import StrEnum

from bmid.model.entity import PowerAddress

__all__ = ["Power", "PowerAction", "PowerState"]


class PowerState(StrEnum):
    """What the BMC says, read back."""

    ON = "on"
    OFF = "off"
    UNKNOWN = "unknown"


class PowerAction(StrEnum):
    """What can be asked of a BMC. `off` is hard; `cycle` is off and on again, or on if it was off."""

    ON = "on"
    OFF = "off"
    CYCLE = "cycle"


class Power(ABC):
    """The power of nodes. Requests return when the BMC has taken them; whether they were done, `state` tells."""

    @abstractmethod
    def check(self, bmc: PowerAddress) -> str:
        """A round trip to the BMC with its credential; says what it is."""

    @abstractmethod
    def state(self, bmc: PowerAddress) -> PowerState:
        """Power as the BMC reads it now."""

    @abstractmethod
    def request(self, bmc: PowerAddress, action: PowerAction) -> None:
        """Ask for the action. TransientError while the BMC is busy or out of reach."""

    @abstractmethod
    def boot_from_network_once(self, bmc: PowerAddress) -> None:
        """The next boot, and only that, is from the network; read back."""
