"""docs/messages.md says what the code does: the reference is what the schemas give, and no problem is missing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bmid.handlers.registry import discover
from bmid.messages.base import Message
from bmid.reference.example import example
from bmid.reference.field import fields
from bmid.reference.message import BEGIN, reference

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs/messages.md"
RAISERS = {"Rejected", "Refused", "PermanentError", "TransientError", "Unfit", "kind", "of"}
NO_PROBLEMS = {"ExportDisk.of", "PointBoot.of", "RequireQuiet.of", "BadSettings.of"}
TOOLS = {"crash-consistent", "qemu-img"}  # stand in tuples, and are no problems
SLUG = re.compile(r"[a-z]+(-[a-z]+)+")
REGISTRY = discover()
MESSAGES: list[type[Message]] = [
    *(handler.command for handler in REGISTRY.commands.values()),
    *REGISTRY.events.values(),
    *(handler.query for handler in REGISTRY.queries.values()),
]


def test_the_reference_in_the_document_is_what_the_schemas_give() -> None:
    """Whoever changes a schema runs `bmid messages --into docs/messages.md`."""
    written = DOCUMENT.read_text()
    assert BEGIN in written
    assert BEGIN + written.partition(BEGIN)[2] == reference(REGISTRY), "run: bmid messages --into docs/messages.md"


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.type)
def test_every_field_has_a_meaning_and_every_example_is_valid(message: type[Message]) -> None:
    """A reader learns what a field means, and can send the example as it stands."""
    assert [field.path for field in fields(message) if not field.meaning or field.meaning.startswith(" (")] == []
    message.model_validate(example(message))


def test_every_problem_of_the_code_is_in_the_tables_and_no_other() -> None:
    """A program may rely on a problem's type, so each is written down with what it means."""
    text = DOCUMENT.read_text().partition("## Problems")[2].partition(BEGIN)[0]
    written = re.findall(r"^\| `([a-z-]+)` \| \S", text, re.MULTILINE)
    assert sorted(written) == sorted(set(written)), "a problem stands in two tables"
    assert set(written) == {slug for file in (ROOT / "bmid").rglob("*.py") for slug in _slugs(file)}


def test_links_inside_the_document_lead_somewhere() -> None:
    """Each link to a heading of the document finds it."""
    text = DOCUMENT.read_text()
    headings = {re.sub(r"[^a-z0-9 -]", "", line.lower()).strip().replace(" ", "-") for line in _headings(text)}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= headings


def _headings(text: str) -> list[str]:
    return re.findall(r"^#+ (.*)$", text, re.MULTILINE)


def _slugs(file: Path) -> Iterator[str]:
    """The slugs of problems that a module makes: said at once, by a variable `slug`, or in a table of errors."""
    below = file.relative_to(ROOT / "bmid").parts[0]
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call):
            yield from _called(file, node)
        elif isinstance(node, ast.Assign) and [ast.unparse(one) for one in node.targets] == ["slug"]:
            yield from _constants(node.value)
        elif isinstance(node, ast.Tuple) and below in {"drivers", "steps"}:
            yield from (text for text in _constants(node) if SLUG.fullmatch(text) and text not in TOOLS)


def _called(file: Path, call: ast.Call) -> Iterator[str]:
    name = ast.unparse(call.func).rpartition(".")[2]
    arguments = call.args[1:] if ast.unparse(call.func) == "HttpProblem.of" else call.args
    if name == "unknown" and file.parent.name == "handlers":
        yield f"{ast.literal_eval(arguments[0])}-unknown"
    elif ast.unparse(call.func) == "super().__init__" and file.name == "errors.py":
        yield from _constants(arguments[0])
    elif name in RAISERS and ast.unparse(call.func) not in NO_PROBLEMS:
        yield from _raised(file, arguments)


def _raised(file: Path, arguments: list[ast.expr]) -> Iterator[str]:
    first = arguments[0] if arguments else None
    if isinstance(first, ast.Constant) and isinstance(first.value, str):
        yield first.value
    elif isinstance(first, ast.JoinedStr):
        assert file.name == "shape.py", f"{file}: a slug put together can't be found in any table"
    elif isinstance(first, ast.Name):
        assert first.id in {"slug", "node"}, f"{file}: call the variable slug, so that this test sees it"


def _constants(node: ast.expr) -> list[str]:
    """The texts in an expression that may be its value, or one of a tuple's."""
    if isinstance(node, ast.IfExp):
        return _constants(node.body) + _constants(node.orelse)
    if isinstance(node, ast.Tuple):
        return [text for one in node.elts if isinstance(one, ast.Constant) for text in _constants(one)]
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []
