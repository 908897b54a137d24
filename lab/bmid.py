"""A private bmid: its settings file, its secrets, its process. The parts it works with come from elsewhere."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from lab.place import write_private
from lab.process import LabError, Process, free_port

__all__ = ["Bmid", "Parts", "Shard"]


@dataclass(frozen=True)
class Shard:
    """One tgtd that bmid uses."""

    name: str
    socket: Path
    portal: str


@dataclass(frozen=True)
class Parts:
    """What bmid is given. `database` is an SQLAlchemy URL; None: SQLite in its own folder. `site_key` and `imports`:
    what several heads share, in place of its own. `netns`: where it runs, and `address` is where its uploads go."""

    broker_url: str
    shards: tuple[Shard, ...]
    tftp: Path
    hosts: Path
    dnsmasq_pid: Path | None
    interface: str = "lo"
    subnet: str = "127.0.0.0/8"
    first: str = "127.1.0.10"
    last: str = "127.1.7.250"
    ceph_conf: Path | None = None
    tgt_conf: Path | None = None
    database: str | None = None
    storage_folder: Path | None = None
    credentials: dict[str, str] = field(default_factory=dict)
    settings: dict[str, dict[str, object]] = field(default_factory=dict)
    site_key: Path | None = None
    imports: Path | None = None
    netns: str | None = None
    address: str = "127.0.0.1"


class Bmid:
    """The daemon, with everything it writes below `folder`. `parts.settings` is laid over what the lab sets."""

    def __init__(self, folder: Path, parts: Parts | None = None, name: str = "head-a") -> None:
        self.folder = folder.absolute()
        self.config = self.folder / "bmid.toml"
        self.staging = self.folder / "staging"
        self.imports = (parts and parts.imports) or self.folder / "imports"
        self.exports = self.folder / "exports"
        self.site_key = (parts and parts.site_key) or self.folder / "site.key"
        self.name = name
        self._parts = parts
        command: list[str | Path] = [Path(sys.executable).parent / "bmid", "--config", self.config, "run"]
        self.process = Process("bmid", self.folder, command, netns=parts.netns if parts else None)

    def start(self, seconds: float = 90) -> None:
        """Write the settings, bring the schema up to date, start, and wait until it works."""
        self.configure()
        self.run("migrate")
        log = self.process.log
        # What a run before this one wrote says nothing; one that goes on has written it all already.
        begin = log.stat().st_size if log.exists() and not self.process.alive() else 0
        self.process.start()
        self.process.wait_for(lambda: self._works(begin), seconds, "working")

    def _works(self, begin: int) -> bool:
        """Whether it has begun, and listens and speaks on the bus; `begin`: where its part of the log begins."""
        lines = self.process.log.read_bytes()[begin:].decode(errors="replace").rpartition('"head.starts"')[2]
        connected = [f'"bmid {self.name} {part}", "event": "broker.connected"' for part in ("consumer", "relay")]
        return '"head.began"' in lines and all(one in lines for one in connected)

    def stop(self) -> None:
        """SIGTERM, and wait for the end; what it has not done then goes on after the next start."""
        self.process.stop(grace=45)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()

    def freeze(self) -> None:
        """SIGSTOP."""
        self.process.freeze()

    def thaw(self) -> None:
        """SIGCONT."""
        self.process.thaw()

    def told(self) -> list[dict[str, Any]]:
        """What its log says, as far as its lines are whole: it may be writing one just now."""
        whole = self.process.log.read_text(errors="replace").rpartition("\n")[0]
        return [json.loads(line) for line in whole.split("\n") if line.startswith("{")]

    def run(self, *arguments: str) -> str:
        """The output of one `bmid ...` command. Raises LabError when it fails, with what it said."""
        command = [str(Path(sys.executable).parent / "bmid"), "--config", str(self.config), *arguments]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=180)
        if done.returncode:
            raise LabError(f"bmid {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def configure(self) -> None:
        """Write bmid.toml and the secrets beside it."""
        parts = self._parts
        if parts is None:
            return
        # bmid doesn't make the folder of its storage itself: it could be a mount that is missing.
        storage = () if parts.ceph_conf else (parts.storage_folder or self.folder / "storage",)
        for folder in (self.folder, self.imports, self.exports, self.folder / "credentials", *storage):
            folder.mkdir(parents=True, exist_ok=True)
        if not self.site_key.exists():
            write_private(self.site_key, secrets.token_hex(32))
        for name, text in parts.credentials.items():
            write_private(self.folder / "credentials" / name, text)
        tables = self._tables(parts)
        for table, values in parts.settings.items():
            tables.setdefault(table, {}).update(values)
        text = "".join(_table(name, values) for name, values in tables.items())
        text += "".join(_shard(shard) for shard in parts.shards)
        self.config.write_text(text)

    def _without_password(self, url: str, name: str) -> dict[str, object]:
        """The keys of a table for what lies behind `url`, whose password goes into a file."""
        parts = urlsplit(url)
        if parts.password is None:
            return {"url": url}
        file = self.folder / f"{name}.password"
        write_private(file, unquote(parts.password))
        netloc = f"{parts.username}@{parts.netloc.rpartition('@')[2]}"
        return {"url": urlunsplit(parts._replace(netloc=netloc)), "password_file": file}

    def _tables(self, parts: Parts) -> dict[str, dict[str, object]]:
        folder = self.folder
        port = folder / "http.port"
        if not port.exists():
            port.write_text(str(free_port()))  # as free elsewhere: a namespace has nothing else that listens
        tables: dict[str, dict[str, object]] = {
            "head": {"name": self.name, "state_folder": folder / "state"},
            "database": self._without_password(parts.database or f"sqlite:///{folder}/bmid.db", "database"),
            "broker": self._without_password(parts.broker_url, "broker"),
            "storage": {"driver": "rbd" if parts.ceph_conf else "directory"},
            "storage.directory": {"folder": parts.storage_folder or folder / "storage"},
            "seed": {"folder": folder / "seeds"},
            "boot": {"tftp_root": parts.tftp, "hosts_dir": parts.hosts},
            "network": {
                "subnet": parts.subnet,
                "first": parts.first,
                "last": parts.last,
                "interface": parts.interface,
            },
            "power": {"credentials": folder / "credentials", "verify": False},
            "images": {
                "import_folder": self.imports,
                "export_folder": self.exports,
                "staging_folder": self.staging,
            },
            "http": {"listen": parts.address, "port": int(port.read_text())},
            "chap": {"site_key_file": self.site_key},
            "log": {"level": os.environ.get("BMI_LAB_LOG", "info")},
            "target": {},
            "engine": {"reconcile_every": 0},  # nobody looks unasked while something is tried
        }
        if parts.dnsmasq_pid:
            tables["boot"]["dnsmasq_pid"] = parts.dnsmasq_pid
        if parts.ceph_conf:
            conf: dict[str, object] = {
                "conf": parts.ceph_conf,
                "tgt_conf": parts.tgt_conf,
                "user": "bmi",
                "pool": "bmi",
            }
            tables["storage.rbd"] = conf
        return tables


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(one) for one in value)}]"
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _table(name: str, values: dict[str, object]) -> str:
    lines = "".join(f"{key} = {_value(value)}\n" for key, value in values.items() if value is not None)
    return f"[{name}]\n{lines}\n"


def _shard(shard: Shard) -> str:
    address, _, port = shard.portal.rpartition(":")
    values = {"name": shard.name, "socket": shard.socket, "portal_address": address, "portal_port": int(port)}
    return "[[target.shards]]\n" + _table("x", values).partition("\n")[2]
