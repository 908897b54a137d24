"""`bmid head carries` runs every other second on each head, for each address: it loads no more than it needs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.support.bench import Bench

# Together they take more than twice as long as the rest: the daemon's own parts, and the libraries of these.
HEAVY = (
    *(f"bmid.{part}" for part in ("amqp", "bootstrap", "daemon", "drivers", "engine", "handlers", "http", "messages")),
    *(f"bmid.{part}" for part in ("logs", "parts", "reference", "sandbox", "scheduler", "steps")),
    *("alembic", "apscheduler", "httpx", "pika", "prometheus_client", "rados", "rbd", "requests", "rich", "starlette"),
    *("structlog", "sushy", "uvicorn", "yaml"),
)
CARRIES = """
import json, sys
from bmid.cli.main import main
try:
    main(["--config", sys.argv[1], "head", "carries", "10.77.0.1"])
except SystemExit as end:
    print(json.dumps([end.code, sorted(sys.modules)]))
"""


def test_it_loads_nothing_of_what_makes_the_daemon(tmp_path: Path, blank: Path) -> None:
    """And answers: a head whose last heartbeat is of long ago has no address."""
    Bench(tmp_path, blank=blank).open().close()
    config = tmp_path / "bmid.toml"
    config.write_text(f'[database]\nurl = "sqlite:///{tmp_path}/bmid.db"\n'
                      f'[head]\nname = "h1"\nstate_folder = "{tmp_path}"\n')  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", CARRIES, str(config)], check=False, capture_output=True, text=True, timeout=120
    )
    answer, told = done.stdout.splitlines()
    code, loaded = json.loads(told)
    assert (answer, code, done.stderr) == ("no", 1, "")
    assert [name for name in HEAVY if name in loaded] == []
    assert {"sqlalchemy", "bmid.store.portals"} <= set(loaded), "what it can't do without is seen"
