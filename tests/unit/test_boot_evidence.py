"""What is read out of the sessions at a target, on the courses that boots take with tgt 1.0.85."""

from __future__ import annotations

from bmid.drivers.base import Session
from bmid.engine.evidence import Watch
from bmid.model.entity import BootStage

ADDRESS = "10.77.0.11"
MIB = 1 << 20
Seen = tuple[int, str | None, int, int]  # id, alias, bytes read, bytes written


def follow(watch: Watch, course: dict[float, list[Seen]], until: float) -> dict[str, float]:
    """When each stage was seen, by looks four times a second; between two entries nothing changes."""
    seen: dict[str, float] = {}
    now = 0.0
    while now <= until:
        times = [time for time in course if time <= now]
        listed = course[max(times)] if times else []
        sessions = [Session(n, "iqn.x:node", ADDRESS, read, wrote, alias) for n, alias, read, wrote in listed]
        seen |= {sighting.stage.value: now for sighting in watch.look(sessions, ADDRESS, now)}
        now += 0.25
    return seen


def test_a_tiny_system_has_booted_when_it_writes_and_goes_on_reading() -> None:
    course: dict[float, list[Seen]] = {
        5.5: [(7, None, 26 * MIB, 0)],
        14.5: [(7, None, 26 * MIB, 0), (8, "n1", 2 * MIB, 0)],
        15.25: [(8, "n1", 2 * MIB, 1024)],
        16.25: [(8, "n1", 2 * MIB + 65536, 29000)],
    }
    assert follow(Watch(0), course, 20) == {"firmware": 5.5, "initramfs": 14.5, "booted": 16.25}


def test_a_debian_that_reads_while_it_starts_has_not_booted_before_it_writes() -> None:
    course: dict[float, list[Seen]] = {5.5: [(10, None, 30 * MIB, 0)]}
    for quarter in range(44):
        course[17.75 + quarter / 4] = [(11, "n1", quarter * MIB, 0)]
    course[28.75] = [(11, "n1", 43 * MIB, 4096)]
    course[29.25] = [(11, "n1", 44 * MIB, 8192)]
    assert follow(Watch(0), course, 32) == {"firmware": 5.5, "initramfs": 17.75, "booted": 29.25}


def test_iscsid_that_takes_the_session_over_is_a_system_that_has_booted() -> None:
    course: dict[float, list[Seen]] = {
        17.75: [(11, "n1", MIB, 0)],
        33.5: [],
        35.75: [(12, "n1", 0, 0)],
        36.0: [(12, "n1", 8192, 0)],
    }
    assert follow(Watch(0), course, 40)["booted"] == 36.0


def test_a_root_that_is_never_written_has_booted_when_it_has_been_read_for_a_minute() -> None:
    course: dict[float, list[Seen]] = {10.0 + second: [(11, "n1", 5 * MIB + second, 0)] for second in range(90)}
    assert follow(Watch(0), course, 100)["booted"] == 70.0


def test_a_kernel_that_hangs_after_the_firmware_has_not_booted() -> None:
    assert follow(Watch(0), {5.0: [(7, None, 26 * MIB, 0)], 9.0: []}, 200) == {"firmware": 5.0}


def test_sessions_of_before_the_power_on_tell_nothing() -> None:
    watch = Watch(8)
    assert follow(watch, {0.0: [(8, "n1", 9 * MIB, 4096)], 2.0: [(8, "n1", 10 * MIB, 8192)]}, 90) == {}
    assert watch.stage is BootStage.WAITING
