"""Steps on a node's power. What a BMC did can be looked at only in part: intents are marked before, results after."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar

from bmid.drivers.base import Power, PowerAction, PowerState
from bmid.errors import PermanentError, TransientError
from bmid.model.entity import PowerAddress
from bmid.steps.base import AFTERMATH, Step, Wait, World
from bmid.steps.boot import REMOVING

__all__ = ["BootFromNetwork", "CyclePower", "PowerBack", "PowerOff", "PowerOn"]

LOOK = timedelta(seconds=1)
ASK_AGAIN = timedelta(seconds=20)
BACK = "power-back"  # the mark of when the node was switched on again on the way back; each time that it was asked for


class PowerStep(Step):
    """What the steps on power share: the BMC."""

    driver: str
    address: str
    credential: str | None = None

    @property
    def bmc(self) -> PowerAddress:
        """The BMC's address, as the port takes it."""
        return PowerAddress(self.driver, self.address, self.credential)

    def port(self, world: World) -> Power:
        """The driver that the node names."""
        if self.driver not in world.power:
            detail = f"this head has no power driver {self.driver!r}"
            raise PermanentError("power-driver-unknown", detail, todo="Enable it in the settings under [power].")
        return world.power[self.driver]


class BootFromNetwork(PowerStep):
    """The next boot is from the network."""

    kind: ClassVar[str] = "boot-from-network"

    def apply(self, world: World) -> Wait | None:
        """Once, unless the node has been cycled already."""
        if not world.notes.mark("cycled"):
            self.port(world).boot_from_network_once(self.bmc)
        return None


class CyclePower(PowerStep):
    """The node is switched off and on again, so that it boots what it is led to. `stays`: also where that fails, the
    node is left as it is."""

    kind: ClassVar[str] = "cycle-power"
    stays: bool = False

    def apply(self, world: World) -> Wait | None:
        """Once: a second run of the plan finds the mark. Then wait until the BMC says that it is on."""
        port, notes = self.port(world), world.notes
        cycled = notes.mark("cycled")
        if not cycled:
            notes.write("cycling", notes.now().isoformat())
            port.request(self.bmc, PowerAction.CYCLE)
            cycled = notes.now().isoformat()
            notes.write("cycled", cycled)
        if port.state(self.bmc) is PowerState.ON:
            return None
        deadline = datetime.fromisoformat(cycled) + timedelta(seconds=120)
        return Wait(notes.now() + LOOK, "waits for the BMC to say that the node is on", deadline)

    def revert(self, world: World) -> Wait | None:
        """A node that was sent to boot what is being taken away is switched off, unless it is on again by now."""
        if world.notes.mark("cycling") and not self.stays and not world.notes.mark(BACK):
            self.port(world).request(self.bmc, PowerAction.OFF)
        return None


class PowerOn(PowerStep):
    """The node is on. `network`: if it has to be switched on, it boots from the network."""

    kind: ClassVar[str] = "power-on"
    deadline: float
    network: bool = False

    def apply(self, world: World) -> Wait | None:
        """Ask, look, and ask again where a BMC forgets."""
        port, notes = self.port(world), world.notes
        asked: list[str] = notes.mark("on-asked") or []
        if port.state(self.bmc) is PowerState.ON:
            return None
        now = notes.now()
        if not asked or now - datetime.fromisoformat(asked[-1]) >= ASK_AGAIN:
            asked = [*asked, now.isoformat()]
            notes.write("on-asked", asked)
            if self.network:
                port.boot_from_network_once(self.bmc)
            port.request(self.bmc, PowerAction.ON)
            if port.state(self.bmc) is PowerState.ON:
                return None
        deadline = datetime.fromisoformat(asked[0]) + timedelta(seconds=self.deadline)
        return Wait(now + LOOK, "waits for the BMC to say that the node is on", deadline)


class PowerBack(PowerStep):
    """Does nothing on the way in. On the way back a node that was switched off is on again; where that can't be, who
    hears of the failure learns that it is off.

    Stands before the steps that switch it off and lead it elsewhere, so that it is undone after all of them.
    """

    kind: ClassVar[str] = "power-back"
    node: str
    deadline: float

    def apply(self, world: World) -> Wait | None:
        """It is on still."""
        return None

    def revert(self, world: World) -> Wait | None:
        """Only what was on before. A BMC that doesn't answer must not keep the rest of the way back from its end."""
        notes = world.notes
        if not notes.mark("off-asked") or notes.mark(AFTERMATH):
            return None
        began = notes.mark("back-since") or notes.now().isoformat()
        notes.write("back-since", began)
        late = notes.now() >= datetime.fromisoformat(began) + timedelta(seconds=self.deadline)
        try:
            if self._on(world):
                return None
        except (PermanentError, TransientError) as error:
            if isinstance(error, TransientError) and not late:
                raise
            late = True
        if not late:
            return Wait(notes.now() + LOOK, "waits for the BMC to say that the node is on again")
        detail = f"node {self.node} was switched off for it, and could not be switched on again"
        notes.write(AFTERMATH, {"detail": detail, "todo": f"bmi-publish node power {self.node} --action on"})
        return None

    def _on(self, world: World) -> bool:
        """Whether the BMC says so. What was cut off from its disk, or sent to another one, has to begin anew."""
        port, notes = self.port(world), world.notes
        asked: list[str] = notes.mark(BACK) or []
        gone = notes.mark("cycling") or notes.mark(REMOVING)
        if port.state(self.bmc) is PowerState.ON and (asked or not gone):
            return True
        now = notes.now()
        if not asked or now - datetime.fromisoformat(asked[-1]) >= ASK_AGAIN:
            port.boot_from_network_once(self.bmc)
            port.request(self.bmc, PowerAction.ON if asked or not gone else PowerAction.CYCLE)
            notes.write(BACK, [*asked, now.isoformat()])
        return port.state(self.bmc) is PowerState.ON


class PowerOff(PowerStep):
    """The node is off, and the BMC was asked whether it is. `force`: go on without after the deadline."""

    kind: ClassVar[str] = "power-off"
    deadline: float
    force: bool = False

    def apply(self, world: World) -> Wait | None:
        """Ask, look, and ask again where a BMC forgets. Not again after the node was sent to boot something else."""
        port, notes = self.port(world), world.notes
        if notes.mark("cycling") or notes.mark("power-unverified") or self._is_off(port):
            return None
        now = notes.now()
        asked: list[str] = notes.mark("off-asked") or []
        if not asked or now - datetime.fromisoformat(asked[-1]) >= ASK_AGAIN:
            asked = [*asked, now.isoformat()]
            notes.write("off-asked", asked)
            if self._asked(port) and self._is_off(port):
                return None
        deadline = datetime.fromisoformat(asked[0]) + timedelta(seconds=self.deadline)
        if self.force and now >= deadline:
            notes.write("power-unverified", True)
            return None
        return Wait(now + LOOK, "waits for the BMC to say that the node is off", None if self.force else deadline)

    def _is_off(self, port: Power) -> bool:
        try:
            return port.state(self.bmc) is PowerState.OFF
        except TransientError:
            if not self.force:
                raise
            return False  # a BMC out of reach must not keep a node that is to be cut off in any case

    def _asked(self, port: Power) -> bool:
        try:
            port.request(self.bmc, PowerAction.OFF)
        except TransientError:
            if not self.force:
                raise
            return False
        return True
