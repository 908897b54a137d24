"""bmi-publish as somebody types it, with a broker, a user and a project in the environment."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from click.testing import CliRunner, Result

from bmi_publish.cli import root
from bmi_publish.error import Unreachable
from lab.rabbitmq import RabbitMQ

__all__ = ["Run", "command_line", "persistent"]

Run = Callable[..., Result]


def command_line(rabbitmq: RabbitMQ, folder: Path) -> Run:
    """Runs bmi-publish with these words as alice; no configuration but what is in the folder."""
    secret = folder / "password"
    secret.write_text(rabbitmq.password("alice") + "\n")
    environment = {
        "BMI_URL": f"amqp://127.0.0.1:{rabbitmq.port}/bmi",
        "BMI_USER": "alice",
        "BMI_PASSWORD_FILE": str(secret),
        "BMI_PROJECT": "p1",
        "XDG_CONFIG_HOME": str(folder),
    }

    def invoke(*words: str, env: dict[str, str] | None = None, **options: Any) -> Result:
        return CliRunner().invoke(root, words, env={**environment, **(env or {})}, **options)

    return invoke


def persistent(url: str, folder: Path, *words: str) -> list[int]:
    """bmi-publish in a process of its own, again and again until it reaches the broker; all of its exit codes."""
    parts = urlsplit(url)
    secret = folder / "password"
    secret.write_text(unquote(parts.password or ""))
    named = {
        "BMI_URL": urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])),
        "BMI_USER": str(parts.username),
        "BMI_PASSWORD_FILE": str(secret),
        "XDG_CONFIG_HOME": str(folder),
    }
    codes: list[int] = []
    while not codes or codes[-1] == Unreachable.exit_code:
        command = [Path(sys.executable).parent / "bmi-publish", *words]
        done = subprocess.run(command, env={**os.environ, **named}, capture_output=True, timeout=600, check=False)
        codes.append(done.returncode)
    return codes
