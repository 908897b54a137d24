"""The command line of chaos: what may be asked for, where it runs, and how it ends."""

from __future__ import annotations

import random
import shutil
import signal
import sys
import tempfile
import threading
from pathlib import Path

import click

from chaos.run import Run
from chaos.site import Form
from lab.process import LabError

__all__ = ["main"]

USAGE, INTERRUPTED = 64, 130


@click.command()
@click.option("--minutes", type=click.FloatRange(min=0.2), default=2.0, show_default=True, help="how long things break")
@click.option("--seed", type=int, help="the order of faults and commands; any, and told, if not said")
@click.option("--heads", type=click.IntRange(1, 8), default=1, show_default=True)
@click.option("--storage", type=click.Choice(["rbd", "directory"]), default="rbd", show_default=True)
@click.option("--database", type=click.Choice(["postgresql", "sqlite"]), default="postgresql", show_default=True)
@click.option("--nodes", type=click.IntRange(1, 200), default=40, show_default=True, help="initiators that write")
@click.option(
    "--folder", type=click.Path(path_type=Path), help="where it runs; else a new one that goes if all is right"
)
def command(
    minutes: float, seed: int | None, heads: int, storage: str, database: str, nodes: int, folder: Path | None
) -> int:
    """Break a site of real parts while it works, and judge it. 0: all is right; 1: something is wrong; 64: this can't
    be asked for."""
    if heads > 1 and (storage == "directory" or database == "sqlite"):
        raise click.UsageError("directory and sqlite are for one head: two need --storage rbd --database postgresql")
    seed = random.SystemRandom().randrange(1 << 32) if seed is None else seed
    given = folder
    folder = given or Path(tempfile.mkdtemp(prefix="bmi-chaos-"))
    form = Form(heads, ceph=storage == "rbd", postgresql=database == "postgresql", nodes=nodes)
    asked = f"--minutes {minutes:g} --seed {seed} --heads {heads} --storage {storage} --database {database}"
    tell(f"script/chaos {asked} --nodes {nodes}   in {folder}")
    report = Run(folder, form, seed, minutes * 60, tell).go()
    print(f"seed {seed}\n{report.text()}", flush=True)
    if report.right and given is None:
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if report.right else 1


_LINE = threading.Lock()


def tell(line: str) -> None:
    """One line of progress, also from threads."""
    with _LINE:
        print(line, flush=True)


def _interrupted(_number: int, _frame: object) -> None:
    """Once: what is being stopped then is stopped whole."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> int:
    """The command, with the exit codes of this house."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupted)
    try:
        return int(command.main(standalone_mode=False) or 0)
    except click.UsageError as error:
        error.show()
        return USAGE
    except (click.Abort, KeyboardInterrupt):
        print("interrupted; all that was started has been stopped", file=sys.stderr)
        return INTERRUPTED
    except LabError as error:
        print(f"chaos: {error}", file=sys.stderr)
        return 1
