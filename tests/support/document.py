"""Code blocks of a document, to be run.

Blocks of `python` are one script, in their order. A block of `sh`, or of no language, is commands, one a line (or
several lines with a backslash), each of which ends with 0 or with the number in a comment `# exit code N`. Commands
that are not of this project set the reader's machine up, and are not run; nor is a block after a comment
`<!-- not run: REASON -->`, nor one of any other language.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Line", "blocks", "commands", "scripts"]

BLOCK = re.compile(r"(<!-- not run: [^>]+-->\n+)?^```([\w-]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
OTHERS = ("rabbitmqctl", "pip", "apt", "apt-get", "sudo", "export", "eval", "docker", "npm", "python", "python3", "git")


@dataclass(frozen=True)
class Line:
    """One command: as a shell takes it, with the exit code that the document promises."""

    text: str
    code: int = 0

    @property
    def endless(self) -> bool:
        """Whether it goes on until somebody ends it."""
        return " --follow" in self.text or " watch " in self.text


def blocks(document: Path, *languages: str) -> list[str]:
    """The blocks of these languages that are to be run, in order."""
    found = BLOCK.findall(document.read_text())
    return [text for mark, language, text in found if language in languages and not mark]


def scripts(document: Path) -> list[str]:
    """Those of Python."""
    return blocks(document, "python")


def commands(document: Path) -> list[Line]:
    """The commands that are to be run, in order."""
    return [line for text in blocks(document, "", "sh") for line in _lines(text)]


def _lines(text: str) -> Iterator[Line]:
    for line in text.replace("\\\n", " ").splitlines():
        command, _, comment = line.partition(" #")
        command = command.removeprefix("$ ").strip()
        if command and not command.startswith("#") and command.split()[0] not in OTHERS:
            code = re.search(r"exit code (\d+)", comment)
            yield Line(command, int(code.group(1)) if code else 0)
