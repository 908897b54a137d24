"""bmi-publish as somebody types it, with a broker, a user and a project in the environment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from bmi_publish.cli import root
from lab.rabbitmq import RabbitMQ

__all__ = ["Run", "command_line"]

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
