"""The clockwork: APScheduler with jobs in memory. What must be remembered is rows, never jobs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import structlog
from apscheduler.schedulers.background import BackgroundScheduler

from bmid.errors import BmiError

__all__ = ["Clockwork"]

log = structlog.get_logger(__name__)
LOOK = 5.0  # seconds between two looks at the machine's clock


class Clockwork:
    """Runs jobs at intervals. A job that is late runs once, at once; it never runs twice at a time."""

    def __init__(self) -> None:
        defaults = {"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
        self._scheduler = BackgroundScheduler(timezone="UTC", job_defaults=defaults)
        self._every: dict[str, float] = {}

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
        self._every[name] = seconds

    def mind(self) -> float:
        """Jobs go by the machine's clock: where that went back, none would run before it is again as late as it was.
        Their intervals begin anew then. Returns the seconds until the next look."""
        now = datetime.now(UTC)  # noqa: TID251 - APScheduler's clock, and no other's
        for name, seconds in self._every.items():
            ahead = (self._scheduler.get_job(name).next_run_time - now).total_seconds()
            if ahead > seconds + LOOK:
                self._scheduler.reschedule_job(name, trigger="interval", seconds=seconds)
                log.warning("job.set_right", job=name, seconds=round(ahead - seconds))
        return LOOK

    def start(self) -> None:
        """Begin."""
        self._scheduler.start()

    def stop(self) -> None:
        """End, without waiting for a job that runs."""
        self._scheduler.shutdown(wait=False)
