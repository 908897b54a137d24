"""What stands before each call of the storage: who had the operation in hand and never gave it back is cut off there.

The look at the claims comes before a call, and its effect after it. A process that is frozen in between, or whose
request lies in a socket, comes back when others have gone on with the operation, and what it makes, drops or names
would be theirs. Only the storage can refuse it: all heads share it, and it knows who asks.
"""

from __future__ import annotations

import threading

from bmid.drivers.base import Storage
from bmid.engine.turn import Turn

__all__ = ["Threshold"]


class Threshold:
    """Of one turn. Several threads of a stage may share it."""

    def __init__(self, storage: Storage, turn: Turn) -> None:
        self._storage = storage
        self._turn = turn
        self._lock = threading.Lock()

    def cross(self) -> None:
        """ClaimLost, unless all claims are still ours. Those before us are cut off, and whoever comes after us knows
        whom to cut off. Errors of `Storage.cut_off`."""
        me = self._storage.client()
        with self._lock:
            former = set(self._turn.former)
            if former - {me}:
                self._turn.verify()
                self._storage.cut_off(former - {me})
            if former or me != self._turn.client:
                self._turn.note_client(me)
        self._turn.verify()
