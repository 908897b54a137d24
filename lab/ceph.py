"""A private Ceph cluster on one address of this machine: one monitor, one or more OSDs, no manager.

Its daemons, pools and users only. The configuration files that they and their clients read are in
`lab.ceph_conf`; images belong to whoever uses the pool.
"""

from __future__ import annotations

import shutil
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import rados

from lab import ceph_conf
from lab.ceph_monitor import Administrator, connect
from lab.place import remember, write_private
from lab.process import LabError, Process, free_port, wait_for

POOL = "bmi"
USER = "bmi"
_GIB = 1 << 30
_PLACEMENT_GROUPS = 32


class Ceph:
    """One cluster whose state lies in `folder`.

    `store` is "bluestore" (on a sparse file of `size` bytes for each OSD; survives a stop) or "memstore" (in
    memory, forgotten at a stop). Clients read `conf` (operations time out) or, in tgtd, `tgt_conf` (they wait,
    and nothing is cached), log in as `user` with `keyring`, and use `pool`. `address` is remembered.
    """

    user = USER
    pool = POOL

    def __init__(
        self,
        folder: Path,
        osds: int = 1,
        store: Literal["bluestore", "memstore"] = "bluestore",
        size: int = 64 * _GIB,
        address: str = "127.0.0.1",
    ) -> None:
        self.folder = folder.absolute()
        self.conf = self.folder / "client.conf"
        self.tgt_conf = self.folder / "tgt.conf"
        self.keyring = self.folder / "client.keyring"
        self._osds = range(osds)
        self._store = store
        self._size = size
        self._address = address

    def start(self) -> None:
        """Make the cluster if there is none in the folder, start it, and return when the pool takes a write.

        Raises LabError.
        """
        if self._store == "memstore" or not self._complete.exists():
            self._make()
        else:
            self._mon().start()
            with self.admin() as administrator:
                self._start_osds(administrator, self._osds)
        self.wait_usable()
        self._complete.touch()

    def stop(self) -> None:
        """End all daemons, at once: BlueStore and the monitor's store survive it, and SIGTERM takes 7 s."""
        for process in self._recorded():
            process.kill()

    def kill_osd(self, number: int = 0) -> None:
        """SIGKILL, as a crash would."""
        self._osd(number).kill()

    def start_osd(self, number: int = 0) -> None:
        """Start a killed OSD (BlueStore only: a memstore forgot everything); return when the pool works again."""
        with self.admin() as administrator:
            self._start_osds(administrator, [number])
        self.wait_usable()

    def restart_osd(self, number: int = 0) -> None:
        """Kill an OSD and start it again."""
        self.kill_osd(number)
        self.start_osd(number)

    def freeze(self, *daemons: str) -> None:
        """SIGSTOP to the daemons named ("mon.a", "osd.0"), or to all OSDs: operations hang."""
        for process in self._named(daemons):
            process.freeze()

    def thaw(self, *daemons: str) -> None:
        """SIGCONT to the daemons named, or to all OSDs."""
        for process in self._named(daemons):
            process.thaw()

    def alive(self) -> bool:
        """Whether all its daemons run."""
        return self._mon().alive() and all(self._osd(number).alive() for number in self._osds)

    def extra_pool(self, name: str) -> str:
        """Make a further pool (or find it) that the user may use as well, and return its name."""
        with self.admin() as administrator:
            administrator.make_pool(name, _PLACEMENT_GROUPS)
            administrator.allow_all_pools(USER)
        self.wait_usable(name)
        return name

    @contextmanager
    def admin(self) -> Iterator[Administrator]:
        """A connection with all rights. Raises LabError if there is none within 30 s."""
        with connect(self.folder / "ceph.conf") as administrator:
            yield administrator

    def wait_usable(self, pool: str = POOL, deadline: float = 60) -> None:
        """Return when an object can be written to the pool, as the user. Raises LabError."""
        conf = {"client_mount_timeout": str(deadline), "rados_osd_op_timeout": str(deadline)}
        cluster = rados.Rados(conffile=str(self.conf), rados_id=USER, conf=conf)
        try:
            cluster.connect()
            with cluster.open_ioctx(pool) as ioctx:
                for number in range(_PLACEMENT_GROUPS):
                    ioctx.write_full(f"lab-probe-{number}", b"")
                    ioctx.remove_object(f"lab-probe-{number}")
        except rados.Error as error:
            tails = "\n".join(process.tail(8) for process in self._recorded())
            raise LabError(f"ceph: pool {pool}: {error}\n{tails}") from error
        finally:
            cluster.shutdown()

    @property
    def _complete(self) -> Path:
        return self.folder / "complete"

    def _make(self) -> None:
        self.stop()
        for part in ("mon.a", *(f"osd.{number}" for number in self._osds)):
            shutil.rmtree(self.folder / part, ignore_errors=True)
            (self.folder / part).mkdir(parents=True)
        self._complete.unlink(missing_ok=True)
        self._write_files()
        # The OSDs' stores are made while the monitor starts; they meet afterwards.
        making = [Process(f"mkfs-{n}", self.folder, self._command("osd", n, "--mkfs")) for n in self._osds]
        for process in making:
            process.start()
        self._make_monitor()
        self._mon().start()
        wait_for(lambda: not any(process.alive() for process in making), 120, "ceph-osd --mkfs")
        with self.admin() as administrator:
            settings = self._settings()
            for number in self._osds:
                administrator.add_osd(number, settings["osd_uuids"][number], settings["osd_keys"][number])
            administrator.make_pool(POOL, _PLACEMENT_GROUPS)
            administrator.add_user(USER, settings["user_key"])
            self._start_osds(administrator, self._osds)

    def _make_monitor(self) -> None:
        settings, monmap = self._settings(), str(self.folder / "monmap")
        address = ceph_conf.monitor(settings)
        _run("monmaptool", "--create", "--clobber", "--fsid", settings["fsid"], "--addv", "a", address, monmap)
        keyring = str(self.folder / "mon.keyring")
        _run(*self._command("mon", "a", "--mkfs", "--monmap", monmap, "--keyring", keyring))

    def _start_osds(self, administrator: Administrator, numbers: Sequence[int]) -> None:
        """Start them and wait until the monitor knows.

        A client that comes earlier doesn't hear of it: it sends to where the OSD was, and asks again after
        5 to 10 s.
        """
        before = administrator.up_since()
        for number in numbers:
            if not self._osd(number).alive():
                self._osd(number).start()
            else:
                before.pop(number, None)

        def up() -> bool:
            now = administrator.up_since()
            return all(now.get(number, 0) > before.get(number, 0) for number in numbers)

        for number in numbers:
            self._osd(number).wait_for(up, 60, "the monitor to see it")

    def _settings(self) -> dict[str, Any]:
        path = self.folder / "ceph.json"
        if path.exists():
            return remember(path, {})
        fresh = {
            "fsid": str(uuid.uuid4()),
            "address": self._address,
            "mon_ports": [free_port(self._address), free_port(self._address)],
            "osd_uuids": [str(uuid.uuid4()) for _ in self._osds],
            "osd_keys": [ceph_conf.new_key() for _ in self._osds],
            **{f"{who}_key": ceph_conf.new_key() for who in ("mon", "admin", "user")},
        }
        return remember(path, fresh)

    def _write_files(self) -> None:
        settings = self._settings()
        confs = ceph_conf.texts(self.folder, settings, self._store, self._size, USER)
        for name, text in confs.items():
            (self.folder / name).write_text(text)
        admin = ceph_conf.keyring("client.admin", settings["admin_key"], mon="allow *", osd="allow *")
        monitor = ceph_conf.keyring("mon.", settings["mon_key"], mon="allow *")
        write_private(self.folder / "admin.keyring", admin)
        write_private(self.folder / "mon.keyring", monitor + admin)
        write_private(self.keyring, ceph_conf.keyring(f"client.{USER}", settings["user_key"]))
        for number in self._osds:
            text = ceph_conf.keyring(f"osd.{number}", settings["osd_keys"][number])
            write_private(self.folder / f"osd.{number}" / "keyring", text)

    def _command(self, kind: str, identity: int | str, *arguments: str) -> list[str]:
        more = list(arguments)
        if kind == "osd" and "--mkfs" in arguments:
            more += ["--osd-uuid", self._settings()["osd_uuids"][int(identity)]]
        conf = str(self.folder / "ceph.conf")
        return [f"ceph-{kind}", "-c", conf, "-i", str(identity), "--no-mon-config", *more]

    def _mon(self) -> Process:
        return Process("mon.a", self.folder, self._command("mon", "a", "-f"), nofile=65536)

    def _osd(self, number: int) -> Process:
        name = f"osd.{number}"
        return Process(name, self.folder, self._command("osd", number, "-f"), nofile=65536)

    def _named(self, daemons: Sequence[str]) -> list[Process]:
        names = daemons or [f"osd.{number}" for number in self._osds]
        return [Process(name, self.folder) for name in names]

    def _recorded(self) -> list[Process]:
        """Every daemon that was ever started here, also by a cluster with more OSDs than this one."""
        return [Process(path.stem, self.folder) for path in sorted(self.folder.glob("*.pid"), reverse=True)]


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"{' '.join(argv)}: {done.stderr[-2000:]}")
