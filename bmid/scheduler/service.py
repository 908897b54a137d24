"""The clockwork: APScheduler with jobs in memory. What must be remembered is rows, never jobs."""

from __future__ import annotations

from collections.abc import Callable

import structlog
from apscheduler.schedulers.background import BackgroundScheduler

from bmid.errors import BmiError

__all__ = ["Clockwork"]

log = structlog.get_logger(__name__)


class Clockwork:
    """Runs jobs at intervals. A job that is late runs once, at once; it never runs twice at a time."""

    def __init__(self) -> None:
        defaults = {"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
        self._scheduler = BackgroundScheduler(timezone="UTC", job_defaults=defaults)

    def every(self, seconds: float, name: str, job: Callable[[], object]) -> None:
        """Run `job` each so many seconds; an error is logged, and it runs again next time."""

        def guarded() -> None:
            try:
                job()
            except BmiError as error:
                log.warning("job.failed", job=name, detail=str(error))
            except Exception as error:
                log.error("job.crashed", job=name, exc_info=error)

        self._scheduler.add_job(guarded, "interval", seconds=seconds, id=name)

    def start(self) -> None:
        """Begin."""
        self._scheduler.start()

    def stop(self) -> None:
        """End, without waiting for a job that runs."""
        self._scheduler.shutdown(wait=False)
