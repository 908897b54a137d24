"""How the log looks. What is logged, each module decides; that no secret gets in is made sure of here as well."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from typing import Any, TextIO, cast

import structlog
import structlog.tracebacks

__all__ = ["configure"]


class _Lossy:
    """A stream that may be out of room, or have lost its reader: what can't be written is lost, and nothing else."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()


HIDDEN = frozenset({"secret", "password", "token", "authorization", "key", "site_key"})
ENDINGS = ("_secret", "_password", "_token")


def _hide(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Values under names that secrets have are not written, whoever passed them, however deep."""
    for name, value in list(event.items()):
        event[name] = _shown(name, value)
    return event


def _shown(name: Any, value: Any) -> Any:
    if name in HIDDEN or str(name).endswith(ENDINGS):
        return "(hidden)"
    if isinstance(value, Mapping):
        return {key: _shown(key, one) for key, one in value.items()}
    return [_shown(None, one) for one in value] if isinstance(value, list | tuple) else value


def configure(level: str, style: str) -> None:
    """Log to stderr, as JSON or for people. Called once, at the start."""
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _hide,
    ]
    if style == "json":
        # Local variables may hold secrets: a traceback names places only.
        places = structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=12)
        rendering: list[Any] = [structlog.processors.ExceptionRenderer(places), structlog.processors.JSONRenderer()]
    else:
        plain = structlog.dev.plain_traceback  # the default one shows local variables
        rendering = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
    structlog.configure(
        processors=[*shared, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, _Lossy(sys.stderr))),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr, format="%(name)s: %(message)s")
    # pika reports each failed attempt several times, with tracebacks; what it raises is logged where it is caught.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
