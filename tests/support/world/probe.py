"""What stands around the drivers: moments at which fate may strike, and the log of what was done under which claim.

The order is: moment `before`, the engine's own look at its claims, the log, the driver, moment `after`. Who freezes at
`before` looks at his claims when he wakes; whoever freezes at `after` has had his effect. Of the storage there is a
moment `within`, too, behind that look: who freezes there would have his effect after others went on, and is cut off.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from bmid.drivers.loader import PASSIVE
from bmid.engine.identity import Ports
from bmid.engine.turn import Turn
from bmid.steps.base import World as Reach

__all__ = ["Call", "Log", "ProbedPorts", "Struck"]

KINDS = ("storage", "target", "boot", "imaging", "isolation", "seeds")


@dataclass(frozen=True)
class Call:
    """One call of a driver: who made it, for what, and the claims it was made under (key, epoch)."""

    holder: str
    operation: str
    what: str
    held: tuple[tuple[str, int], ...]


@dataclass
class Log:
    """All calls. `wrong` is what must never be: two that act on one key, an epoch that goes back."""

    calls: list[Call] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    _last: dict[str, tuple[int, str]] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)

    def add(self, call: Call) -> None:
        """A call that is being made right now."""
        self.calls.append(call)
        for key, epoch in call.held:
            before, holder = self._last.get(key, (0, call.holder))
            if epoch < before:
                self.wrong.append(
                    f"{call.what} of {call.holder} on {key} under epoch {epoch}, after {holder} had {before}"
                )
            elif epoch == before and holder != call.holder:
                self.wrong.append(f"{call.what}: {call.holder} and {holder} act on {key} under one epoch, {epoch}")
            else:
                self._last[key] = (epoch, call.holder)

    def name(self, what: str, arguments: tuple[Any, ...]) -> None:
        """A number of a target is one disk's for ever, and a disk that was thrown away is never made again."""
        if what == "target.create":
            export = arguments[1]
            holder = self._names.setdefault(f"number {export.number}", export.user)
            if holder != export.user:
                self.wrong.append(f"number {export.number} of {holder} is used again, by {export.user}")
        elif what == "storage.discard":
            self._names[arguments[0]] = "gone"
        elif what == "storage.clone" and arguments[1] in self._names:
            self.wrong.append(f"disk {arguments[1]} is made again after it was thrown away")


class _Probe:
    """A port whose calls tell that they come and go."""

    def __init__(self, name: str, port: Any, around: Callable[[str, Callable[[], Any], tuple[Any, ...]], Any]) -> None:
        self._name = name
        self._port = port
        self._around = around

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._port, name)
        if not callable(member) or name in PASSIVE:
            return member
        return lambda *a, **o: self._around(f"{self._name}.{name}", lambda: member(*a, **o), a)


class Struck(_Probe):
    """The storage as a takeover has it, which works without an operation: only the moments before and after."""

    def __init__(self, storage: Any, moment: Callable[[str], None]) -> None:
        def around(what: str, call: Callable[[], Any], _arguments: tuple[Any, ...]) -> Any:
            moment(f"before {what}")
            result = call()
            moment(f"after {what}")
            return result

        super().__init__("storage", storage, around)


@dataclass(frozen=True)
class ProbedPorts(Ports):
    """The drivers of a head. `moment(what, turn)` is where fate strikes; `done(what)` is told of each effect."""

    holder: str = ""
    moment: Callable[[str, Turn], None] = lambda _what, _turn: None
    done: Callable[[str], None] = lambda _: None
    log: Log = field(default_factory=Log)

    def world(self, turn: Turn) -> Reach:
        """As ever, with probes on both sides of the guard."""

        def inner(what: str, call: Callable[[], Any], arguments: tuple[Any, ...]) -> Any:
            held = tuple((one.key, one.epoch) for one in turn._held)
            self.log.add(Call(self.holder, turn.operation, what, held))
            self.log.name(what, arguments)
            if what.startswith("storage."):
                self.moment(f"within {what}", turn)
            try:
                return call()
            finally:
                self.done(what)

        def outer(what: str, call: Callable[[], Any], _arguments: tuple[Any, ...]) -> Any:
            self.moment(f"before {what}", turn)
            result = call()
            self.moment(f"after {what}", turn)
            return result

        logged = {name: _Probe(name, getattr(self, name), inner) for name in KINDS}
        power = {name: _Probe("power", port, inner) for name, port in self.power.items()}
        reach = replace(self, **logged, power=power).guarded(turn)
        struck = {name: _Probe(name, getattr(reach, name), outer) for name in KINDS}
        return replace(reach, **struck, power={n: _Probe("power", reach.power[n], outer) for n in power})

    def guarded(self, turn: Turn) -> Reach:
        """As the engine has it."""
        return Ports.world(self, turn)
