"""Where the broker is and who we are: arguments, then the environment, then a file. Nothing is connected here.

The file is $XDG_CONFIG_HOME/bmi/config.toml (~/.config/bmi/config.toml):

    url = "amqps://bmi.example.org/bmi"     # may hold user and password
    user = "my-service"
    password_file = "/etc/my-service/bmi-password"
    project = "p1"
    source = "/my-service"
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from bmi_publish.error import BadSettings, PublishError

__all__ = ["Settings", "load"]

DEFAULT_URL = "amqp://localhost/bmi"
FILE = "See BMI_URL, BMI_PASSWORD_FILE and ~/.config/bmi/config.toml."
KEYS = ("url", "user", "password", "password_file", "project", "source")


@dataclass(frozen=True)
class Settings:
    """What a client needs. `url` holds no user and no password, so that it can be shown."""

    url: str = DEFAULT_URL
    user: str = "guest"
    password: str = field(default="guest", repr=False)
    project: str | None = None
    source: str = "/bmi-publish"

    def address(self) -> str:
        """The URL with user and password, for the broker's library alone."""
        parts = urlsplit(self.url)
        return urlunsplit(parts._replace(netloc=f"{quote(self.user, '')}:{quote(self.password, '')}@{parts.netloc}"))


def load(given: Mapping[str, str | None], environment: Mapping[str, str], path: Path | None = None) -> Settings:
    """The settings, each from the first place that has it. Raises BadSettings, never with a secret in it."""
    path = path or _default_path(environment)
    values: dict[str, str] = {**_file(path), **_environment(environment), **{k: v for k, v in given.items() if v}}
    parts = urlsplit(values.get("url", DEFAULT_URL))
    if parts.scheme not in ("amqp", "amqps") or not parts.hostname:
        raise _bad("the URL of the broker must have the form amqp://HOST/VHOST or amqps://HOST/VHOST", FILE)
    plain = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    user = values.get("user") or unquote(parts.username or "") or "guest"
    password = _password(values) or unquote(parts.password or "") or "guest"
    project, source = values.get("project"), values.get("source", "/bmi-publish")
    return Settings(url=plain, user=user, password=password, project=project, source=source)


def _password(values: Mapping[str, str]) -> str | None:
    if "password" in values or "password_file" not in values:
        return values.get("password")
    try:
        return Path(values["password_file"]).expanduser().read_text().strip()
    except (OSError, ValueError) as error:
        raise _bad(f"the password file {values['password_file']} can't be read: {_reason(error)}", FILE) from None


def _default_path(environment: Mapping[str, str]) -> Path:
    base = environment.get("XDG_CONFIG_HOME") or str(Path(environment.get("HOME", "~")).expanduser() / ".config")
    return Path(base) / "bmi" / "config.toml"


def _environment(environment: Mapping[str, str]) -> dict[str, str]:
    return {key: environment[f"BMI_{key.upper()}"] for key in KEYS if environment.get(f"BMI_{key.upper()}")}


def _file(path: Path) -> dict[str, str]:
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text())
        mode = path.stat().st_mode
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise _bad(f"{path} can't be read: {_reason(error)}", FILE) from None
    for key, value in values.items():
        if key not in KEYS:
            raise _bad(f"{path}: unknown key {key}", f"Known keys: {', '.join(KEYS)}.")
        if not isinstance(value, str):
            raise _bad(f"{path}: {key} must be text", 'Write it as KEY = "TEXT".')
    if mode & 0o007 and ("password" in values or urlsplit(values.get("url", "")).password):
        raise _bad(f"{path} holds a password and everybody may read it", f"Run: chmod o= {path}")
    return values


def _reason(error: Exception) -> str:
    # The parser's text may quote the line, and the line may be the one with the password.
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else "its text is not valid"


def _bad(detail: str, todo: str) -> PublishError:
    return BadSettings.of("bad-settings", detail, todo)
