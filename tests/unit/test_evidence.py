"""What sessions tell of a boot, played back from what tgt 1.0.85 showed while real nodes booted, twice a second."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from bmid.drivers.base import Session
from bmid.engine.evidence import Watch
from bmid.model.entity import BootStage

NODE = "10.77.0.10"
MB = 1_000_000
Trace = Callable[[float], Sequence[Session]]


def session(number: int, alias: str | None, read: float, written: float = 0, address: str = NODE) -> Session:
    return Session(number, "iqn.2000-01.test:n1", address, int(read), int(written), alias)


def ramp(now: float, begin: float, end: float, amount: float) -> float:
    """Bytes that grow evenly from nothing at `begin` to `amount` at `end`."""
    return amount * min(1.0, max(0.0, (now - begin) / (end - begin)))


def tiny_bios(now: float) -> list[Session]:
    """iPXE twice, the initramfs beside its dead session, then a system that reads 64 KiB a second."""
    found = []
    if 5.4 <= now < 5.5:
        found.append(session(6, None, 3584))
    if 5.5 <= now < 15.2:
        found.append(session(7, None, ramp(now, 5.5, 14.6, 26.7 * MB)))
    if now >= 14.6:
        read = ramp(now, 14.6, 15.3, 2.5 * MB) + max(0.0, now - 15.3) * 65536
        found.append(session(8, "n1", read, 1024 if 15.2 <= now < 15.3 else 29_000 if now >= 15.3 else 0))
    return found


def tiny_uefi(now: float) -> list[Session]:
    """One log-in of iPXE, five seconds of nothing, then the initramfs and the system."""
    found = []
    if 9.1 <= now < 9.9:
        found.append(session(13, None, ramp(now, 9.1, 9.9, 26.4 * MB)))
    if now >= 14.4:
        read = ramp(now, 14.4, 15.1, 2.5 * MB) + max(0.0, now - 15.1) * 65536
        found.append(session(14, "n2", read, 27_000 if now >= 15.0 else 0))
    return found


def debian(now: float) -> list[Session]:
    """iscsistart in the initramfs, whose session iscsid takes over after two seconds without any."""
    found = []
    if 5.5 <= now < 5.74:
        found.append(session(9, None, 3584))
    if 5.74 <= now < 20.7:
        found.append(session(10, None, ramp(now, 5.74, 17.0, 30.3 * MB)))
    if 17.8 <= now < 33.6:
        written = 0 if now < 28.7 else 4096 + ramp(now, 28.7, 33.0, 1.4 * MB)
        found.append(session(11, "n1", ramp(now, 17.8, 33.0, 42.8 * MB), written))
    if now >= 35.7:
        found.append(session(12, "n1", ramp(now, 35.7, 37.7, 2.4 * MB), 5000))
    return found


def second_boot(now: float) -> list[Session]:
    """After a power cut: the dead system's session stays listed, frozen, during the whole next boot."""
    stale = session(14, "n2", 2.6 * MB, 27_000)
    moved = [session(one.id + 2, one.alias, one.bytes_read, one.bytes_written) for one in tiny_uefi(now)]
    return [stale, *moved]


def play(trace: Trace, end: float, base: int = 0, interval: float = 0.5, begin: float = 0.0) -> dict[str, float]:
    """When each stage was seen first."""
    watch, seen, now = Watch(base), {}, begin
    while now <= end:
        for sighting in watch.look(trace(now), NODE, now):
            seen[sighting.stage.value] = now
        now = round(now + interval, 3)
    return seen


@pytest.mark.parametrize(
    ("trace", "base", "markers"),
    [
        (tiny_bios, 0, (5.4, 14.6, 15.3)),
        (tiny_uefi, 0, (9.1, 14.4, 15.1)),
        (second_boot, 14, (9.1, 14.4, 15.1)),
        (debian, 0, (5.5, 17.8, 28.7)),
    ],
    ids=["tiny-bios", "tiny-uefi", "power-cut", "debian"],
)
@pytest.mark.parametrize("begin", [0.0, 0.13, 0.37])
def test_a_boot_is_seen_soon_after_the_system_is_up_and_never_before(
    trace: Trace, base: int, markers: tuple[float, float, float], begin: float
) -> None:
    """All three stages, in order, whatever moments the poll hits; log-ins at the next look."""
    seen = play(trace, 45.0, base, begin=begin)
    assert list(seen) == ["firmware", "initramfs", "booted"]
    for marker, moment, late in zip(markers, seen.values(), (0.5, 0.5, 2.5), strict=True):
        assert marker <= moment <= marker + late
    assert seen["firmware"] < seen["initramfs"] < seen["booted"]


def test_a_poll_every_second_sees_it_too() -> None:
    """Even where it misses the firmware's second on UEFI."""
    for trace in (tiny_bios, tiny_uefi, debian):
        assert "booted" in play(trace, 45.0, interval=1.0)
    seen = play(lambda now: [one for one in tiny_uefi(now) if one.id != 13], 45.0)
    assert "booted" in seen


@pytest.mark.parametrize("end", [9.0, 600.0])
def test_firmware_alone_is_no_boot_however_much_it_reads(end: float) -> None:
    """A kernel that hangs: iPXE's session, whether it stays or goes, never leads further than firmware."""
    assert play(lambda now: [session(7, None, now * MB)] if 5 <= now < end else [], 600.0) == {"firmware": 5.0}


def test_an_initramfs_that_hangs_is_no_boot() -> None:
    """It has logged in, and read its superblock, and nothing more."""
    seen = play(lambda now: [session(8, "n1", 200_000)] if now > 5 else [], 600.0)
    assert list(seen) == ["firmware", "initramfs"]


def test_iscsid_that_takes_the_session_over_is_a_system_that_has_booted() -> None:
    """It logs in anew and reads, seconds after the initramfs's session has gone, and need not write."""

    def trace(now: float) -> list[Session]:
        initramfs, system = 17.5 <= now < 33.5, now >= 35.5
        return [session(11, "n1", MB)] * initramfs + [session(12, "n1", 8192 if now >= 36 else 0)] * system

    assert play(trace, 40.0)["booted"] == 36.0


def test_a_system_that_wrote_and_then_died_is_no_boot() -> None:
    """It must go on reading."""
    seen = play(lambda now: [session(8, "n1", 200_000, 4096)] if now > 5 else [], 60.0)
    assert "booted" not in seen


def test_what_the_last_boot_left_behind_tells_nothing() -> None:
    """Neither listed nor moving, by any id up to the highest of before the power-on."""
    for number in (13, 14):
        assert play(lambda now, number=number: [session(number, "n2", now * MB, now * 1000)], 90.0, base=14) == {}
    watch = Watch(14)
    watch.look([session(14, "n2", MB, 4096)], NODE, 1.0)
    assert watch.stage is BootStage.WAITING


def test_another_nodes_session_tells_nothing() -> None:
    """The address must be the node's."""
    assert play(lambda now: [session(20, "n9", now * MB, now * 1000, "10.77.0.99")], 60.0) == {}


def test_a_root_that_is_read_only_for_good_counts_when_it_reads_on() -> None:
    """After a minute in which it went on reading; a system that is starting reads a lot as well."""
    for rate in (1, MB):
        seen = play(lambda now, rate=rate: [session(8, "n1", 5 * MB + now * rate)] if now >= 10 else [], 80.0)
        assert seen["booted"] == 70.0


def test_an_initiator_without_a_name_that_writes_is_a_system() -> None:
    """iPXE doesn't write."""
    seen = play(lambda now: [session(8, None, now * 65536, 4096)] if now > 5 else [], 30.0)
    assert "booted" in seen


def test_a_stage_is_never_taken_back() -> None:
    """Counters vanish with their session; what was seen stays seen."""
    watch = Watch(0)
    watch.look([session(8, "n1", 1000)], NODE, 1.0)
    assert watch.look([], NODE, 2.0) == []
    assert watch.stage is BootStage.INITRAMFS
