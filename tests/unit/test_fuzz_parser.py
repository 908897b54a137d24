"""Bad bytes for what reads them by itself: tgtd's answers, settings files, the heads of images, the envelope."""

from __future__ import annotations

import gzip
import json
import lzma
import random
import shutil
import struct
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmid.drivers.base import ExportStatus, ImageFile, JobState
from bmid.drivers.imaging.inspection import Request, examine
from bmid.drivers.imaging.qemu import QemuImaging
from bmid.drivers.imaging.verdict import Found, Limits, Unfit
from bmid.drivers.target import tgt_text
from bmid.errors import Misconfigured, TransientError
from bmid.messages.envelope import Envelope, Unreadable, decode
from bmid.settings import Settings
from bmid.settings_file import load
from tests.support.fuzz import MIB, Flat, mutated, seeded, strange

MANY = pytest.mark.parametrize(
    "count", [1500, pytest.param(30_000, marks=[pytest.mark.long, pytest.mark.timeout(3600)])]
)
LISTED = b"""\
Target 1: iqn.a
    System information:
        Driver: iscsi
    I_T nexus information:
        I_T nexus: 4
            Initiator: iqn.i alias: n1
            Connection: 0
                IP Address: 10.77.0.11
    LUN information:
        LUN: 0
            Type: controller
        LUN: 1
            Backing store path: /disk
    Account information:
        user1
    ACL information:
        10.77.0.11
Target 2: iqn.b
    I_T nexus information:
"""
CONNECTED = b"Session: 4\n    Connection: 0\n        Initiator: iqn.i\n        IP Address: 10.77.0.11\n"
COUNTED = b"tgt lun sid rd_subm rd_done ...\n1 1 4 10 20 30 40 50 60 70 80 90\n2 0 5 1 2 3 4 5 6 7 8 9\n"
NAMED = b"iscsi:\n        Target 1: iqn.a\n        Target 2: iqn.b\n"


@MANY
def test_whatever_tgtd_shows_is_read_or_called_garbled(count: int) -> None:
    """Nothing else is raised, and a target is one that tgtd has listed by name."""
    chance, garbled, slugs = seeded(count), 0, set()
    texts = (LISTED, CONNECTED, COUNTED, NAMED)
    for _ in range(count):
        listed, connected, counted, named = (
            mutated(chance, text, chance.choice(texts)).decode(errors="replace") for text in texts
        )
        names, counters = tgt_text.parse_names(named), {}
        try:
            counters = dict(tgt_text.parse_counters(counted))
            tgt_text.parse_connections(1, connected, counters)
            tgt_text.parse_stamp(counted)
        except TransientError as error:
            garbled += error.problem.slug == "target-garbled"
        try:
            found = tgt_text.parse_targets(listed, names, counters)
        except TransientError as error:
            slugs.add(error.problem.slug)
        else:
            assert {one.number: one.iqn for one in found}.items() <= names.items()
            assert all(isinstance(one, ExportStatus) for one in found)
        tgt_text.parse_accounts(listed)
    assert garbled > count / 3
    assert slugs == {"target-garbled"}


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.text())
def test_any_text_of_tgtd_is_read_or_called_garbled(text: str) -> None:
    """Also what is nothing like an answer."""
    for read in (
        tgt_text.parse_counters,
        tgt_text.parse_stamp,
        lambda text: tgt_text.parse_connections(1, text, {}),
        lambda text: tgt_text.parse_targets(text, tgt_text.parse_names(text), {}),
    ):
        with suppress(TransientError):
            read(text)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(
    st.one_of(st.none(), st.text(max_size=40), st.just("application/cloudevents+json")),
    st.dictionaries(st.one_of(st.text(max_size=20), st.sampled_from(["ce-id", "cloudEvents_type"])), st.text()),
    st.binary(max_size=200),
)
def test_any_message_is_an_envelope_or_unreadable(kind: str | None, headers: dict[str, Any], body: bytes) -> None:
    """With what its headers still say of it."""
    try:
        assert isinstance(decode(kind, headers, body), Envelope)
    except Unreadable as error:
        assert str(error)  # noqa: PT017 - one of two right ends


TOML = Path(__file__).parents[2] / "systemd" / "bmid.toml"
VALUES = (
    "0", "-1", "1e400", "nan", "9223372036854775808", "''", "'x'", "[]", "[[]]", "{}", "{a = 1}", "true", "'\\u0000'",
    "1979-05-27T07:32:00Z", "07:32:00", "[1, 'a']", "'../..'", '"\\uD7FF"', "0x7fffffffffffffffffff", "'postgresql://['",
    "'10.0.0.0/8'", "'sqlite://'", "'a\tb'", "['a', {b = []}]", "'" + "x" * 5000 + "'", "999999999999999999999999",
)  # fmt: skip


def keys() -> list[str]:
    """All keys of the settings, and some that there are not."""
    found = ["x", "a.b.c.d.e", '""', "'engine'", "engine", "storage", "target.shards", '"a.b"', "head.name.x"]
    for name, field in Settings.model_fields.items():
        found += [f"{name}.{key}" for key in field.annotation.model_fields]  # type: ignore[union-attr]
    return found


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=[pytest.mark.long, pytest.mark.timeout(3600)])])
def test_a_settings_file_is_read_or_told_off_with_its_place(tmp_path: Path, count: int) -> None:
    """Never a traceback: whatever is in it, bmid says which file, and what in it."""
    chance, path, good, every = seeded(count), tmp_path / "bmid.toml", TOML.read_bytes(), keys()
    told, read = 0, 0
    for number in range(count):
        if number % 5 == 0:
            content = mutated(chance, good, good)
        else:
            lines = [f"{chance.choice(every)} = {chance.choice(VALUES)}" for _ in range(chance.choice((1, 1, 2, 4)))]
            if chance.random() < 0.3:
                lines.insert(
                    1, chance.choice(("[target]", "[[target.shards]]", "[[engine]]", "[a.b]", "[storage.rbd]"))
                )
            content = "\n".join(lines).encode()
        path.write_bytes(content)
        try:
            load(path)
        except Misconfigured as error:
            told += str(error).startswith(f"{path}:")
        else:
            read += 1
    assert told + read == count
    assert told > count / 2


def qcow2(size: int = 1 << 20) -> bytes:
    """A small one, with one cluster of data."""
    cluster = 1 << 16
    head = b"QFI\xfb" + struct.pack(">IQIIQIIQQIIQ", 3, 0, 0, 16, size, 0, 1, cluster * 2, cluster, 1, 0, 0)
    head += struct.pack(">QQQII", 0, 0, 0, 4, 104) + bytes(8)
    tables = struct.pack(">Q", cluster * 3 | 1 << 63).ljust(cluster, b"\0")
    entries = struct.pack(">Q", cluster * 4 | 1 << 63).ljust(cluster, b"\0")
    return head.ljust(cluster * 2, b"\0") + tables + entries + b"data".ljust(cluster, b"x")


def heads() -> dict[str, bytes]:
    """A real file of each kind."""
    raw = (b"\xeb\x63\x90" + b"boot").ljust(510, b"\0") + b"\x55\xaa" + bytes(65_536)
    image = qcow2()
    zst = subprocess.run(["zstd", "-qc"], input=image, stdout=subprocess.PIPE, check=True).stdout
    return {"raw": raw, "qcow2": image, "gz": gzip.compress(image), "xz": lzma.compress(image), "zst": zst}


def accident(chance: random.Random, content: bytes) -> bytes:
    """Most of them in the head, where the numbers stand."""
    cut = min(len(content), chance.choice((40, 120, 600, len(content))))
    return mutated(chance, content[:cut], chance.randbytes(64)) + content[cut:]


LIMITS = Limits(virtual_size=1 << 30, unpacked=64 * MIB, memory=1 << 30, seconds=120)


@pytest.mark.parametrize("count", [600, pytest.param(20_000, marks=[pytest.mark.long, pytest.mark.timeout(3600)])])
def test_an_image_with_accidents_is_fit_or_told_off(tmp_path: Path, count: int) -> None:
    """With a slug and a sentence, in little time and memory; of what is unfit nothing is left."""
    chance, flat, real = seeded(count), Flat(), heads()
    source, target = tmp_path / "source", tmp_path / "target"
    outcomes: dict[str, str] = {}
    for number in range(count):
        if number == 100:
            flat.begin()
        # A process is started for each that zstd unpacks.
        kind = "zst" if number % 25 == 0 else chance.choice(("raw", "qcow2", "qcow2", "gz", "xz"))
        source.write_bytes(accident(chance, real[kind]))
        began = time.monotonic()
        request = Request(str(source), str(target), None, chance.choice((None, "raw", "qcow2", "iso")), LIMITS)
        try:
            found = examine(request, lambda done, total: None, with_qemu=False)
        except Unfit as error:
            outcomes[error.slug] = error.detail
            if target.exists():
                outcomes["left"] = error.slug
        else:
            assert isinstance(found, Found)
            assert 0 < found.virtual_size <= LIMITS.virtual_size
        assert time.monotonic() - began < 10
    assert flat.grown() < 64 * MIB
    assert {"image-damaged", "format-mismatch", "format-unsupported"} <= outcomes.keys()
    assert all(outcomes.values())
    assert "left" not in outcomes


@pytest.mark.parametrize("count", [8, pytest.param(300, marks=[pytest.mark.long, pytest.mark.timeout(1800)])])
def test_the_child_that_looks_at_an_image_with_accidents_ends_and_says_why(tmp_path: Path, count: int) -> None:
    """The real one, with its limits and qemu-img: each job is done, or failed with a problem that we have words for."""
    chance, real = seeded(count), heads()
    imaging = QemuImaging(LIMITS.virtual_size, LIMITS.unpacked, 1 << 30, LIMITS.seconds)
    workspace = tmp_path / "workspace"
    for number in range(count):
        workspace.mkdir()
        source = tmp_path / f"source-{number}"
        source.write_bytes(accident(chance, real[chance.choice(sorted(real))]))
        imaging.inspect(f"job-{number}", source, workspace, None, None)
        end = time.monotonic() + 180
        while (job := imaging.poll(f"job-{number}", 1.0)) is not None and job.state is JobState.RUNNING:
            assert time.monotonic() < end
        assert job is not None
        if job.state is JobState.DONE:
            assert isinstance(job.result, ImageFile)
        else:
            assert job.problem is not None
            assert job.problem[0] not in ("imaging-failed", "imaging-timeout"), job
            assert not any(workspace.iterdir())
        imaging.cancel(f"job-{number}")
        shutil.rmtree(workspace)


def test_values_of_every_kind_are_json(tmp_path: Path) -> None:
    """What the accidents put into messages can be written down at all."""
    chance = seeded(1)
    assert all(json.dumps(strange(chance)) for _ in range(1000))
