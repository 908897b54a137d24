"""What imaging promises of digests, asked of the twin and of the children: what was promised is what came, or else."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import replace

import pytest

from bmid.drivers.base import JobState
from tests.support.imaging_bench import PACKERS, Bench, disk_bytes


def test_a_file_that_needed_no_unpacking_is_digested_after_the_look(bench: Bench) -> None:
    content = disk_bytes()
    bench.put(content)
    found, digest = bench.found(), hashlib.sha256(content).hexdigest()
    for promised in (None, digest, digest.upper()):
        job = bench.digested(found, promised)
        assert (job.state, job.done, job.total) == (JobState.DONE, len(content), len(content))
        assert job.result == replace(found, sha256=digest)


@pytest.mark.parametrize("packing", ["", "gz"])
def test_a_wrong_digest_is_refused_with_both(bench: Bench, packing: str) -> None:
    """A packed file's in the look, which reads all of it; another's beside the copy."""
    content = PACKERS[packing](disk_bytes()) if packing else disk_bytes()
    bench.put(content)
    if packing:
        slug, detail = bench.refusal(sha256="0" * 64)
    else:
        job = bench.digested(bench.found(sha256="0" * 64), "0" * 64)
        assert job.state is JobState.FAILED
        assert job.problem is not None
        slug, detail, again = job.problem
        assert not again
    assert slug == "digest-mismatch"
    assert "0" * 64 in detail
    assert hashlib.sha256(content).hexdigest() in detail


def test_a_wrong_digest_explains_broken_data(bench: Bench) -> None:
    for broken in (gzip.compress(disk_bytes())[:-40], bench.qcow2()[:-1000], b"<html>not found</html>"):
        bench.put(broken)
        assert bench.refusal(sha256="0" * 64, declared="qcow2")[0] == "digest-mismatch"
        assert bench.refusal(sha256=hashlib.sha256(broken).hexdigest(), declared="qcow2")[0] != "digest-mismatch"


def test_a_file_that_has_gone_since_it_was_found_is_told(bench: Bench) -> None:
    bench.put(disk_bytes())
    found = bench.found()
    bench.source.unlink()
    job = bench.digested(found)
    assert job.problem is not None
    assert (job.problem[0], job.problem[2]) == ("image-unreadable", False)
