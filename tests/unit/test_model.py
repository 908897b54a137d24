"""Names, ids, back-off, placement and secrets: pure values."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from bmid.errors import Refused, TransientError
from bmid.model.chap import chap_secret
from bmid.model.claim import Key, ordered
from bmid.model.entity import Network
from bmid.model.ident import uuid7
from bmid.model.name import DiskName, ImageName, ImageRef, Label, Mac, split_image
from bmid.model.placement import choose_address, choose_home
from bmid.model.retry import backoff
from tests.support.view import Shard

START = datetime(2026, 1, 1, tzinfo=UTC)
LABELS = TypeAdapter[str](Label)
IMAGES = TypeAdapter[str](ImageName)
DISKS = TypeAdapter[str](DiskName)
REFS = TypeAdapter[str](ImageRef)
MACS = TypeAdapter[str](Mac)
ANY = st.text(max_size=70) | st.text(alphabet="abc019-._/ '\"\n\x00Ü", max_size=70)


def takes(adapter: TypeAdapter[str], text: object) -> bool:
    try:
        adapter.validate_python(text)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("name", ["a", "p1", "my-project", "0", "a" * 63, "x--y"])
def test_labels_that_are_fine(name: str) -> None:
    """RFC 1123; and each of them names an image as well."""
    assert takes(LABELS, name)
    assert takes(IMAGES, name)


@pytest.mark.parametrize("name", ["debian-12.4", "a_b", "v1.2.3", "a.b", "a_-b"])
def test_images_may_have_dots_and_underscores_inside(name: str) -> None:
    """Labels may not: they are part of routing keys."""
    assert takes(IMAGES, name)
    assert takes(DISKS, name)
    assert not takes(LABELS, name)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a..b", ".a", "a.", "-a", "a-", "_a", "a_", "A", "a/b", "a'b", 'a"b', "a b", "a\n", "\na", "a\x00",
     "a\x7f", "ä", "\u0430", "a\u200b", "a" * 64, "a*", "#", 1, None],
)  # fmt: skip
def test_names_that_are_refused(name: object) -> None:
    """Of everything."""
    assert not takes(LABELS, name)
    assert not takes(IMAGES, name)


@given(ANY)
def test_whatever_is_taken_is_safe_in_a_path_a_key_and_a_script(name: str) -> None:
    """No separator, no quote, no dot-dot, no control character, at most 63 characters."""
    for adapter in (LABELS, IMAGES):
        if takes(adapter, name):
            assert re.fullmatch(r"[a-z0-9._-]{1,63}", name)
            assert ".." not in name
            assert name[0].isalnum()
            assert name[-1].isalnum()
            assert takes(REFS, name)
            assert takes(REFS, f"p1/{name}")


@given(ANY)
def test_an_image_reference_has_two_good_parts(reference: str) -> None:
    """Of which the first may be missing."""
    if takes(REFS, reference):
        owner, name = split_image(reference, "mine")
        assert takes(LABELS, owner)
        assert re.fullmatch(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?", name)
        assert ".." not in name


@pytest.mark.parametrize("reference", ["/a", "a/", "a/b/c", "../a", "A/b", "a.b/c", "a//b"])
def test_image_references_that_are_refused(reference: str) -> None:
    """Dots are for images, not for projects."""
    assert not takes(REFS, reference)


@pytest.mark.parametrize("text", ["52:54:00:12:34:56", "52-54-00-12-34-56", " 52:54:00:12:34:56 ", "52:54:00:12:34:5A"])
def test_macs_are_written_in_one_way(text: str) -> None:
    """Lower case, with colons."""
    assert re.fullmatch(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", MACS.validate_python(text))


@pytest.mark.parametrize(
    "text",
    ["", "52:54:00:12:34", "52:54:00:12:34:56:78", "5254.0012.3456", "zz:54:00:12:34:56", "01:00:5e:00:00:01",
     "ff:ff:ff:ff:ff:ff", "52:54:00-12:34:5", "\uff152:54:00:12:34:56"],
)  # fmt: skip
def test_macs_that_are_refused(text: str) -> None:
    """Also those that no card has: multicast, broadcast."""
    assert not takes(MACS, text)


@given(st.lists(st.integers(0, 10**9), min_size=2, max_size=20), st.binary(min_size=10, max_size=10))
def test_ids_sort_by_time(milliseconds: list[int], chance: bytes) -> None:
    """And are UUIDs of version 7, whatever chance says."""
    made = [uuid7(START + timedelta(milliseconds=one), chance) for one in sorted(set(milliseconds))]
    assert made == sorted(made)
    assert [str(one) for one in made] == sorted(str(one) for one in made)
    for one in made:
        assert (one.version, one.variant) == (7, UUID(int=0x2 << 62).variant)


def test_ids_of_one_millisecond_differ_by_chance() -> None:
    """In 74 bits."""
    assert uuid7(START, b"\x00" * 10) != uuid7(START, b"\x00" * 9 + b"\x01")


@given(st.integers(min_value=1, max_value=10**6), st.floats(min_value=0, max_value=1, exclude_max=True))
def test_a_back_off_has_bounds(attempt: int, chance: float) -> None:
    """From a fifth of a second to five minutes; the window doubles, and nobody spins."""
    delay = backoff(attempt, chance)
    window = min(300.0, 2.0 * 2.0 ** min(attempt - 1, 30))
    assert window * 0.1 <= delay <= window
    assert backoff(attempt + 1, chance) >= delay


NETWORK = Network("default", "10.0.0.0/24", "10.0.0.10", "10.0.0.20", "eth0", "10.0.0.1:3260")
TAKEN = st.dictionaries(st.integers(5, 25).map(lambda host: f"10.0.0.{host}"), st.just("d1"))


@given(TAKEN, st.none() | st.integers(5, 25).map(lambda host: f"10.0.0.{host}"))
def test_an_address_is_free_in_the_range_and_the_lowest(taken: Mapping[str, str], wished: str | None) -> None:
    """Or the wished one, also outside the range; or a refusal that says who has it, or that all are taken."""
    free = [f"10.0.0.{host}" for host in range(10, 21) if f"10.0.0.{host}" not in taken]
    if wished in taken or not (wished or free):
        with pytest.raises(Refused) as caught:
            choose_address(NETWORK, taken, wished, "n1")
        assert caught.value.problem.slug == ("address-taken" if wished else "network-full")
        return
    address = choose_address(NETWORK, taken, wished, "n1")
    assert address not in taken
    assert address == (wished or free[0])
    assert ipaddress.ip_address(address)


HOMES = st.lists(
    st.builds(Shard, st.sampled_from("ab"), st.sampled_from("01"), st.integers(0, 5), draining=st.booleans())
)


@given(HOMES)
def test_the_home_with_the_fewest_disks_is_chosen_among_those_that_take_any(shards: list[Shard]) -> None:
    """The same for the same answer, so that two looks agree."""
    ready = [shard for shard in shards if not shard.draining]
    if not ready:
        with pytest.raises(TransientError) as caught:
            choose_home(shards)
        assert caught.value.problem.slug == ("heads-draining" if shards else "no-home")
        assert caught.value.delay == (10 if shards else 5)
        return
    chosen = choose_home(shards)
    assert chosen in ready
    assert chosen.load == min(shard.load for shard in ready)
    assert chosen == choose_home(shards[::-1])


@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 60))
def test_maps_fill_heads_and_their_shards_in_turns(heads: int, shards: int, maps: int) -> None:
    """No shard, and no head, ever has two disks more than another of its like."""
    load = {(f"h{head}", str(shard)): 0 for head in range(heads) for shard in range(shards)}
    for _ in range(maps):
        home = choose_home([Shard(head, shard, count) for (head, shard), count in load.items()])
        load[home.head, home.shard] += 1
        each = [sum(count for (head, _), count in load.items() if head == f"h{number}") for number in range(heads)]
        assert max(each) - min(each) <= 1
        assert max(load.values()) - min(load.values()) <= 1


def test_keys_are_put_in_the_one_order() -> None:
    """Project, image, disk, node; then by name."""
    names = ["node:a", "disk:z", "image:p/b", "image:p/a", "project:x"]
    assert [key.name for key in ordered(*(Key(name, True) for name in names))] == [
        "project:x", "image:p/a", "image:p/b", "disk:z", "node:a",
    ]  # fmt: skip


def test_a_chap_secret_follows_from_key_disk_and_generation() -> None:
    """16 characters that every initiator takes; another disk, generation or key has another one."""
    secret = chap_secret(b"k" * 32, "d1", 1)
    assert re.fullmatch("[A-Z2-7]{16}", secret)
    assert secret == chap_secret(b"k" * 32, "d1", 1)
    others = {chap_secret(b"k" * 32, "d1", 2), chap_secret(b"k" * 32, "d2", 1), chap_secret(b"j" * 32, "d1", 1)}
    assert len(others | {secret}) == 4
    assert chap_secret(b"k" * 32, "d1", 11) != chap_secret(b"k" * 32, "d11", 1)
