"""All nodes of a site, and the BMC of half of them: a Redfish service in this process, whose log is nobody's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from chaos.ledger import Ledger
from chaos.machine import Machine, Place
from chaos.road import Roads
from chaos.sighting import Sightings
from lab.bmc import Service
from lab.process import free_port
from lab.redfish import Handler, Server
from lab.together import side_by_side

__all__ = ["CREDENTIAL", "SECRET", "Fleet", "mac", "name", "powered"]

CREDENTIAL = "chaos"
SECRET = "admin\ncorrect-horse\n"  # noqa: S105 - of BMCs that are threads of this process


def name(number: int) -> str:
    """What the node with this number (0, 1, ...) is called."""
    return f"n{number + 1}"


def mac(number: int) -> str:
    """Its MAC address."""
    return f"52:54:00:ca:{number >> 8:02x}:{number & 255:02x}"


def powered(number: int) -> bool:
    """Whether it has a BMC."""
    return number % 2 == 0


class _Quiet(Handler):
    def log_message(self, *_arguments: object) -> None:
        """Nothing."""


class Fleet:
    """`count` nodes below `folder`, which follow the boot scripts of `places`; `reach` says where a portal is,
    `leads` whether a portal is at a head."""

    def __init__(
        self,
        folder: Path,
        count: int,
        seed: int,
        places: Sequence[Place],
        roads: Roads,
        reach: Callable[[str], tuple[str, int] | None],
        leads: Callable[[str, str], bool],
    ) -> None:
        self.ledger = Ledger()
        self.machines = [
            Machine(
                name=name(number),
                mac=mac(number),
                folder=folder / name(number),
                places=tuple(places),
                roads=roads,
                ledger=self.ledger,
                reach=reach,
                seed=seed,
                bmc=powered(number),
                sightings=Sightings(leads),
            )
            for number in range(count)
        ]
        machines = {machine.name: machine for machine in self.machines if machine.bmc}
        self._port = free_port()
        self._service = Service(lambda: sorted(machines), machines.get, SECRET.strip().replace("\n", ":"))
        self._server: Server | None = None

    def bmc(self, number: int) -> str:
        """The address of a node's BMC."""
        return f"http://127.0.0.1:{self._port}/redfish/v1/Systems/{name(number)}"

    def start_bmc(self) -> None:
        """The Redfish service."""
        self._server = Server(self._port, self._service)
        self._server.RequestHandlerClass = _Quiet
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="bmc", daemon=True).start()

    def start(self) -> None:
        """All nodes."""
        for machine in self.machines:
            machine.start()

    def moved(self, address: str) -> None:
        """An address is somewhere else now."""
        for machine in self.machines:
            machine.moved(address)

    def stop(self) -> None:
        """The plug is pulled out of all of them."""
        side_by_side({machine.name: machine.stop for machine in self.machines})

    def stop_bmc(self) -> None:
        """No Redfish any more; quiet if there is none."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
