"""`bmid head carries`: which addresses this head is to have on its interfaces.

Asked every other second, on each head and for each address, by a process that is new each time: nothing is imported
here that it can do without.
"""

from __future__ import annotations

from collections.abc import Callable

from bmid.address import is_local
from bmid.care.solitude import Solitude
from bmid.database import make_database
from bmid.errors import TransientError
from bmid.model import succession
from bmid.settings import Settings
from bmid.store import heads, portals

__all__ = ["Addresses"]


class Addresses:
    """Works on the database. `local`: whether an address is here. `limit`: seconds that the database has for an answer,
    where somebody waits who can't wait for long."""

    def __init__(self, settings: Settings, local: Callable[[str], bool] = is_local, limit: float | None = None) -> None:
        self._database = make_database(settings, limit)
        self._away: TransientError | None = None
        try:
            self._database.verify()
        except TransientError as error:  # whoever asks for anything but an address is told again
            self._away = error
        self._dead_after = settings.engine.dead_after
        # Another head takes over after `dead_after`, and this one has to be quicker.
        self._solitude = Solitude(settings.head.state_folder, self._dead_after / 2)
        self._me = settings.head.name
        self._local = local

    def carries(self, address: str) -> bool:
        """Whether this head is to have an address now. What it is to give up and hasn't any more is noted: the next
        carrier waits for that. TransientError where it can't be known, but not where this head alone has lost the
        database: then it has none."""
        away, self._away = self._away, None
        try:
            if away is not None:
                raise away
            return self._carries(address)
        except TransientError:
            if self._solitude.alone():
                return False
            raise

    def _carries(self, address: str) -> bool:
        with self._database.read() as tx:
            rows = [one for one in portals.every(tx) if one.address == address]
            me, others = heads.find(tx, self._me), heads.others(tx, self._me, self._dead_after)
        wanted = succession.carries(rows, address, me, self._dead_after)
        if me is not None:
            self._solitude.note(me.url, [one.url for one in others if one.url], stopped=me.stopped)
        leaves = any(one.head == self._me and one.ready and one.withdrawn_at is None for one in rows)
        if not wanted and leaves and not self._local(address):
            with self._database.write() as tx:
                portals.withdraw(tx, address, self._me)
        return wanted
