"""Moves addresses between the heads of a lab, as keepalived does at a site: one process in each head's namespace.

    python -m lab.mover BMID.TOML INTERFACE LENGTH IP...

It asks what `bmid head carries` answers, and adds or removes the address. Where that can't be known, all stays as it
is. Which head is to have an address is bmid's business.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from bmid.address import is_local
from bmid.care.roster import Roster
from bmid.errors import BmiError
from bmid.settings_file import load

__all__ = ["Mover"]

EVERY = 0.3  # seconds
ANNOUNCED = 3  # times, once a turn: one may be lost
REFRESH = 3.0  # seconds, and again for as long as it is here: a head that wakes with the address is believed until then


class Mover:
    """The addresses of one head's interface; `length` is that of the subnet's prefix."""

    def __init__(self, roster: Roster, interface: str, length: str) -> None:
        self._roster = roster
        self._interface = interface
        self._length = length
        self._announce: dict[str, int] = {}
        self._announced: dict[str, float] = {}

    def run_once(self, address: str) -> None:
        """Look at one address. Raises BmiError where it can't be known who is to have it."""
        wanted, here = self._roster.carries(address), is_local(address)
        if wanted and not here:
            self._ip("add", address)
            self._announce[address] = ANNOUNCED
        elif here and not wanted:
            self._ip("del", address)
        left, now = self._announce.get(address, 0), time.monotonic()
        if wanted and (left or now - self._announced.get(address, 0.0) >= REFRESH):
            self._announce[address], self._announced[address] = max(0, left - 1), now
            announce(self._interface, address)

    def _ip(self, verb: str, address: str) -> None:
        command = ["ip", "addr", verb, f"{address}/{self._length}", "dev", self._interface]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        print(f"{time.time():.2f} {' '.join(command)} {done.stderr.strip()}", flush=True)


def announce(interface: str, address: str) -> None:
    """A gratuitous ARP request: whoever knew the address learns where it is now."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind((interface, 0))
        mac, ip, all_of_them = raw.getsockname()[4], socket.inet_aton(address), b"\xff" * 6
        ask = b"\x00\x01\x08\x00\x06\x04\x00\x01"
        raw.send(all_of_them + mac + b"\x08\x06" + ask + mac + ip + bytes(6) + ip)


def main() -> None:
    """Until it is stopped."""
    config, interface, length, *addresses = sys.argv[1:]
    mover = Mover(Roster(load(Path(config))), interface, length)
    while True:
        for address in addresses:
            with suppress(BmiError):
                mover.run_once(address)
        time.sleep(EVERY)


if __name__ == "__main__":
    main()
