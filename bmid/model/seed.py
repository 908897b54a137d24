"""What a new system is told at its first boot: the files of a NoCloud seed, and what may be in a command for them.

Pure: volumes are written elsewhere. The texts may hold secrets, so no problem that is told of them quotes them.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, WithJsonSchema

from bmid.model.entity import Disk, Seed

__all__ = ["SECRET_FIELDS", "NetworkConfig", "SshKey", "UserData", "seed_files"]

SECRET_FIELDS = frozenset({"user_data", "network_config"})  # of commands: shown to nobody
TEXT_LIMIT = 64 * 1024  # bytes
KEY_LIMIT = 8 * 1024  # bytes; an RSA key of 16384 bits has 2.8 KiB
KEY_TYPES = (
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)
# How cloud-init tells kinds of user data apart: by how the text begins.
CLOUD_CONFIG = "#cloud-config"
BEGINNINGS = (
    CLOUD_CONFIG,
    "#cloud-config-archive",
    "#cloud-boothook",
    "#include",
    "#include-once",
    "#part-handler",
    "## template: jinja",
)
MULTIPART = re.compile(r"(?:Content-Type: *multipart/|MIME-Version:)", re.IGNORECASE)

VENDOR_DATA = {"manage_etc_hosts": True}


def _ssh_key(value: str) -> str:
    key = value.strip()
    if "PRIVATE KEY" in key:
        raise ValueError("this is a private key: give the public one, the line in the file that ends in .pub")
    if len(key.encode()) > KEY_LIMIT or any(ord(letter) < 32 or ord(letter) == 127 for letter in key):
        raise ValueError("an SSH key is one line of at most 8 KiB: type, base64, comment")
    kind, _, rest = key.partition(" ")
    if kind not in KEY_TYPES:
        raise ValueError(f"an SSH key begins with its type, one of {', '.join(KEY_TYPES)}")
    try:
        blob = base64.b64decode(rest.split(" ", 1)[0], validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("the second word of an SSH key is base64, and this one isn't") from None
    # RFC 4253: the blob begins with the type again, its length before it.
    if not blob.startswith(len(kind).to_bytes(4, "big") + kind.encode()) or len(blob) < len(kind) + 4 + 32:
        raise ValueError("this SSH key is cut short, or of another type than it says")
    return key


def _limited(value: str, what: str) -> str:
    if len(value.encode()) > TEXT_LIMIT:
        raise ValueError(f"{what} has at most 64 KiB")
    if "\0" in value:
        raise ValueError(f"{what} is text, without zero bytes")
    return value


def _user_data(value: str) -> str:
    _limited(value, "user_data")
    first = value.split("\n", 1)[0].rstrip()
    if first not in BEGINNINGS and not first.startswith("#!") and not MULTIPART.match(first):
        raise ValueError(
            f"cloud-init knows user_data by its first line: {', '.join(BEGINNINGS)}, #! and a program, "
            "or the header of a MIME multipart"
        )
    if first == CLOUD_CONFIG:
        node = _yaml(value, "user_data")
        if node is not None and not isinstance(node, yaml.MappingNode):
            raise ValueError(f"user_data that begins with {CLOUD_CONFIG} is a mapping: lines of `key: value`")
    return value


def _network_config(value: str) -> str:
    node = _yaml(_limited(value, "network_config"), "network_config")
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    top = {key.value: item.value for key, item in pairs if isinstance(key, yaml.ScalarNode)}
    if "version" not in top and "network" in top:
        raise ValueError("leave out the outer `network:` of network_config: `version` stands at the top")
    if str(top.get("version")) not in {"1", "2"}:
        raise ValueError("network_config is YAML with `version: 1` or `version: 2` at the top")
    return value


def _yaml(text: str, what: str) -> yaml.Node | None:
    """The top of a document. It is not built: aliases can make small texts large."""
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f", line {mark.line + 1}" if mark else ""
        raise ValueError(f"{what} isn't YAML{place}") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ValueError(f"{what} isn't YAML that can be read") from None


def _media(kind: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "contentMediaType": kind})


SshKey = Annotated[str, AfterValidator(_ssh_key)]
# The media type says that it is a text of many lines, which a command line takes from a file.
UserData = Annotated[str, AfterValidator(_user_data), _media("text/cloud-config")]
NetworkConfig = Annotated[str, AfterValidator(_network_config), _media("application/yaml")]


def seed_files(disk: Disk) -> Mapping[str, str]:
    """Name and text of each file of the disk's seed, also of one that was given nothing but its name.

    The instance id is the disk's: a new disk is a new machine, one that was parked is still the same.
    """
    seed = disk.seed or Seed()
    meta: dict[str, Any] = {"instance-id": disk.id, "local-hostname": disk.hostname or disk.node or disk.name}
    if seed.ssh_keys:
        meta["public-keys"] = list(seed.ssh_keys)
    files = {
        "meta-data": _document(meta),
        "user-data": seed.user_data if seed.user_data is not None else f"{CLOUD_CONFIG}\n",
        "vendor-data": f"{CLOUD_CONFIG}\n{_document(VENDOR_DATA)}",
    }
    if seed.network_config is not None:
        files["network-config"] = seed.network_config
    return files


def _document(values: Mapping[str, Any]) -> str:
    """JSON is YAML, and needs no care with quotes."""
    return json.dumps(values, indent=1, sort_keys=True) + "\n"
