"""The other end of the bus: publish commands to BMI, hear what became of them, ask what is.

Here are only the names. They are loaded when they are first used, because the command line starts without a broker.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bmi_publish.boot import BOOTED
    from bmi_publish.client import Client
    from bmi_publish.error import (
        BadSettings,
        DownloadFailed,
        NotAllowed,
        PublishError,
        QueryFailed,
        Unreachable,
        UploadFailed,
    )
    from bmi_publish.result import Result, State
    from bmi_publish.ticket import Ticket

__all__ = [
    "Client",
    "BOOTED",
    "Result",
    "State",
    "Ticket",
    "PublishError",
    "Unreachable",
    "NotAllowed",
    "QueryFailed",
    "UploadFailed",
    "DownloadFailed",
    "BadSettings",
]

_HOMES = {"BOOTED": "boot", "Client": "client", "Result": "result", "State": "result", "Ticket": "ticket"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'error')}"), name)
