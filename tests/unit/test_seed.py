"""What may be said about a new system, and the files that it is told in."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import yaml
from pydantic import ValidationError

from bmid.handlers.mapping import NewSystem
from bmid.model.entity import Disk, DiskState, Seed
from bmid.model.seed import seed_files

SECRET = "correct-horse-battery"


def key(kind: str = "ssh-ed25519", comment: str = " alice@desk", inner: str | None = None) -> str:
    name = (inner or kind).encode()
    blob = len(name).to_bytes(4, "big") + name + (32).to_bytes(4, "big") + bytes(range(32))
    return f"{kind} {base64.b64encode(blob).decode()}{comment}"


def disk(seed: Seed | None = None) -> Disk:
    now = datetime(2026, 11, 21, tzinfo=UTC)
    return Disk("d" * 32, "p1", "n1-dddd", "i" * 32, 1, 7, DiskState.MAKING, now, node="n1", hostname="web1", seed=seed)


def refused(**said: object) -> str:
    with pytest.raises(ValidationError) as error:
        NewSystem.model_validate(said)
    [one] = error.value.errors(include_input=False)
    assert SECRET not in one["msg"]
    return one["msg"]


def test_a_disk_without_wishes_is_told_its_id_its_name_and_the_site_s_defaults() -> None:
    files = seed_files(disk())
    assert set(files) == {"meta-data", "user-data", "vendor-data"}
    assert yaml.safe_load(files["meta-data"]) == {"instance-id": "d" * 32, "local-hostname": "web1"}
    assert files["user-data"] == "#cloud-config\n"
    assert files["vendor-data"].startswith("#cloud-config\n")
    assert yaml.safe_load(files["vendor-data"]) == {"manage_etc_hosts": True}


def test_what_was_asked_for_is_in_the_files_word_for_word() -> None:
    user_data, network = f"#!/bin/sh\nécho {SECRET}\r\n", "version: 2\nethernets: {}\n"
    files = seed_files(disk(Seed((key(), key("ssh-rsa", "")), user_data, network)))
    assert files["user-data"] == user_data
    assert files["network-config"] == network
    assert yaml.safe_load(files["meta-data"])["public-keys"] == [key(), key("ssh-rsa", "")]


def test_the_instance_stays_with_its_disk_whatever_node_it_is_on() -> None:
    here, there = disk(), replace(disk(), node="n2", head="b", generation=2)
    assert seed_files(here) == seed_files(there)
    assert seed_files(here) != seed_files(replace(here, id="e" * 32))


def test_a_name_that_yaml_would_misread_stays_a_name() -> None:
    assert yaml.safe_load(seed_files(replace(disk(), hostname="0x10"))["meta-data"])["local-hostname"] == "0x10"


@pytest.mark.parametrize("kind", ["ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "sk-ssh-ed25519@openssh.com"])
def test_a_public_key_is_taken_with_and_without_a_comment(kind: str) -> None:
    said = NewSystem(ssh_keys=(key(kind), key(kind, ""), f" {key(kind, ' two words')}\n"))
    assert said.ssh_keys == (key(kind), key(kind, ""), key(kind, " two words"))


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (f"-----BEGIN OPENSSH PRIVATE KEY-----\n{SECRET}", "private key"),
        (key() + "\n" + key(), "one line"),
        (f"command={SECRET} {key()}", "its type"),
        (key("ssh-dss"), "its type"),
        (f"ssh-ed25519 {SECRET}", "base64"),
        ("ssh-ed25519", "cut short"),
        (key(inner="ssh-rsa"), "another type"),
        (key()[:40], "cut short|base64"),
        (key(comment=" " + "x" * 9000), "8 KiB"),
        ("", "its type"),
    ],
)
def test_what_is_no_public_key_is_refused_with_the_reason(wrong: str, why: str) -> None:
    assert any(part in refused(ssh_keys=[wrong]) for part in why.split("|"))


def test_there_are_64_keys_at_most() -> None:
    NewSystem(ssh_keys=(key(),) * 64)
    assert "64" in refused(ssh_keys=[key()] * 65)


@pytest.mark.parametrize(
    "text",
    [
        "#cloud-config\npackages: [vim]\n",
        "#cloud-config",
        "#cloud-config \r\n{}\r\n",
        "#!/bin/sh\necho $((1 << 2))\n",
        "#include\nhttps://example.org/a\n",
        "## template: jinja\n#cloud-config\nfqdn: {{ v1.local_hostname }}\n",
        "Content-Type: multipart/mixed; boundary=x\nMIME-Version: 1.0\n\n--x--\n",
        "#cloud-config\nwrite_files: [{path: /x, content: 'a, b'}]\n" + "#" * 65000,
    ],
)
def test_user_data_of_the_kinds_that_cloud_init_knows_is_taken_as_it_is(text: str) -> None:
    assert NewSystem(user_data=text).user_data == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "first line"),
        (f"packages: [{SECRET}]", "first line"),
        (f"\n#cloud-config\n{SECRET}: 1\n", "first line"),
        ("#cloud-confg\n", "first line"),
        (f"#cloud-config\n{SECRET}: [\n", "isn't YAML, line 3"),
        (f"#cloud-config\n- {SECRET}\n", "a mapping"),
        ("#cloud-config\na: 1\n---\nb: 2\n", "isn't YAML"),
        ("#cloud-config\n" + "[" * 60000, "isn't YAML"),
        (f"#!/bin/sh\n{SECRET}\0", "zero bytes"),
        ("#!/bin/sh\n" + "é" * (32 << 10), "64 KiB"),
    ],
)
def test_user_data_that_no_system_would_follow_is_refused_without_showing_it(text: str, why: str) -> None:
    assert why in refused(user_data=text)


@pytest.mark.parametrize("text", ["version: 2\nethernets: {}", "{version: 1, config: []}", "version: '2'"])
def test_a_network_config_of_version_1_or_2_is_taken(text: str) -> None:
    assert NewSystem(network_config=text).network_config == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"network: {{version: 2, wifis: {SECRET}}}", "outer `network:`"),
        (f"version: 3\nwifis: {SECRET}", "version: 1"),
        ("", "version: 1"),
        ("- 1", "version: 1"),
        ("[a, b]: c", "version: 1"),
        (f"version: 2\n\t{SECRET}", "isn't YAML, line 2"),
        ("version: 2\n#" + "x" * (64 << 10), "64 KiB"),
    ],
)
def test_another_network_config_is_refused_without_showing_it(text: str, why: str) -> None:
    assert why in refused(network_config=text)


def test_what_may_be_secret_is_not_in_the_representation_of_a_disk() -> None:
    seed = Seed((), f"#!/bin/sh\n{SECRET}", f"version: 2\n# {SECRET}")
    assert SECRET not in repr(disk(seed))
