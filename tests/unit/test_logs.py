"""No secret reaches the log, whatever is logged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest
import structlog

from bmid import logs
from bmid.drivers.base import Backing, BootEntry, Export
from bmid.model.entity import Firmware

SECRET = "HUNTER2HUNTER2"


@pytest.fixture(params=["json", "console"])
def style(request: pytest.FixtureRequest) -> Iterator[str]:
    """Both ways to log; the defaults are put back."""
    yield request.param
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def test_values_under_a_secrets_name_are_hidden(style: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Also inside of what is logged, and bound to the context."""
    logs.configure("info", style)
    log = structlog.get_logger("test")
    with structlog.contextvars.bound_contextvars(token=SECRET):
        log.info("thing.happened", password=SECRET, secret=SECRET, authorization=f"Bearer {SECRET}", site_key=SECRET)
        log.info("thing.happened", options={"password": SECRET, "rows": [{"secret": SECRET}]}, bmc_password=SECRET)
    told = capsys.readouterr().err
    assert "thing.happened" in told
    assert SECRET not in told


def test_a_traceback_shows_no_local_variables(style: str, capsys: pytest.CaptureFixture[str]) -> None:
    """They may hold secrets; places are enough."""
    logs.configure("info", style)

    def work(password: str) -> None:
        local = f"x{password}"
        raise RuntimeError(f"{len(local)} characters")

    try:
        work(SECRET)
    except RuntimeError as error:
        structlog.get_logger("test").error("step.crashed", exc_info=error)
    told = capsys.readouterr().err
    assert "RuntimeError" in told
    assert "test_logs.py" in told
    assert SECRET not in told


def test_the_values_that_carry_a_secret_do_not_show_it() -> None:
    """Exports and boot entries print themselves without."""
    export = Export(1, "iqn.x", Backing("rdwr", "/x"), "10.0.0.1", "user", SECRET)
    entry = BootEntry(
        "n1", "d1", 1, "52:54:00:00:00:01", "10.0.0.1", "n1", Firmware.ANY, ("10.0.0.2", 3260), "iqn.x", "iqn.y",
        "user", SECRET,
    )  # fmt: skip
    assert SECRET not in repr(export) + str(entry)


def test_a_level_keeps_quiet_what_is_below_it(style: str, capsys: pytest.CaptureFixture[str]) -> None:
    """warning: no info."""
    logs.configure("warning", style)
    structlog.get_logger("test").info("thing.happened")
    structlog.get_logger("test").warning("thing.failed")
    told = capsys.readouterr().err
    assert "thing.failed" in told
    assert "thing.happened" not in told


def test_a_log_that_cannot_be_written_ends_nothing(style: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk, or a reader that has gone: the line is lost, and nothing else."""
    with open("/dev/full", "w", buffering=1) as full:
        monkeypatch.setattr("sys.stderr", full)
        logs.configure("info", style)
        structlog.get_logger("test").error("thing.failed", exc_info=ValueError("a reason"))
        monkeypatch.undo()
        with suppress(OSError):
            full.close()
