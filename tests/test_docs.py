"""The documents: their links, their limits, and the commands in them."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import nox.registry
import pytest

from benchmarks import commands_page
from harness.commands.main import cli
from tests.support import ROOT

README, CONTRIBUTING = ROOT / "README.md", ROOT / "CONTRIBUTING.md"
PAGES = sorted((ROOT / "docs").glob("*.md"))
DOCUMENTS = [README, CONTRIBUTING, *PAGES]
WORKFLOW = ROOT / ".github" / "workflows" / "regression.yml"
FENCE = re.compile(r"^ *```(\S*)[^\n]*\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
# The messages in troubleshooting that pip and the shell print.
FOREIGN_MESSAGES = {"error: externally-managed-environment", "command not found: harness"}
# A command line, which may begin with variables.
CALL = re.compile(r"(\w+=\S+ +)*(harness|nox) ")
# The languages of blocks that hold commands. Other blocks hold output, code or files.
TYPED = {"console", "sh", "yaml"}


def without_code(text: str) -> str:
    """The text of a document without its code, in which a link would be no link."""
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))


def links(path: Path) -> list[str]:
    """The targets of the links and images of a document that are not on the web."""
    targets = re.findall(r"\]\(([^)\s]+)\)", without_code(path.read_text()))
    return [target for target in targets if "://" not in target]


def anchors(path: Path) -> set[str]:
    """The anchors of the headings of a document, as GitHub makes them."""
    headings = re.findall(r"^#+ +(.+)$", FENCE.sub("", path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(path: Path) -> list[list[str]]:
    """The command lines of a document that call harness or nox, in blocks and inside sentences, as lists of words."""
    text = path.read_text()
    blocks = [block.replace("\\\n", " ") for language, block in FENCE.findall(text) if language in TYPED]
    typed = [line.removeprefix("- run:") for block in blocks for line in block.splitlines()]
    typed += re.findall(r"`((?:harness [a-z]|nox -s )[^`\n]*)`", FENCE.sub("", text))
    parts = [part.strip() for line in typed for part in line.split("&&")]
    found = [shlex.split(re.sub(r"^(\w+=\S+ +)+", "", part), comments=True) for part in parts if CALL.match(part)]
    return [words for words in found if "..." not in words[-1]]


def parse(words: list[str]) -> None:
    """Parse a command line without running it. Values of options are not checked.

    Raises:
        click.UsageError: The command or an option does not exist, or there are too many arguments.
    """
    command: click.Command = cli
    context = click.Context(cli, info_name="harness")
    while isinstance(command, click.Group):
        name, found, words = command.resolve_command(context, words)
        assert found is not None
        command, context = found, click.Context(found, parent=context, info_name=name)
    _, left, _ = command.make_parser(context).parse_args(list(words))
    assert left == [], f"too many arguments: {left}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_points_to_a_file_and_a_heading(path: Path) -> None:
    for target in links(path):
        name, _, anchor = target.partition("#")
        file = path.parent / name if name else path
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_exists_with_its_options(path: Path) -> None:
    sessions = nox.registry.get()
    for words in commands(path):
        if words[0] == "harness":
            parse(words[1:])
        else:
            assert words[1] == "-s"
            named = words[2 : words.index("--")] if "--" in words else words[2:]
            assert set(named) <= set(sessions), words


@pytest.mark.parametrize("line", ["study runs", "compare A B --acros beta_1", "ui A B", "gate run --seed 3"])
def test_a_command_that_does_not_exist_is_found(line: str) -> None:
    with pytest.raises((click.UsageError, AssertionError)):
        parse(line.split())


def test_the_documents_hold_commands() -> None:
    # If the search for commands broke, the test above would find nothing to complain about.
    assert sum(len(commands(path)) for path in DOCUMENTS) > 40
    assert ["harness", "study", "run", "variants", "--fresh"] in commands(ROOT / "docs" / "studies.md")


def test_the_readme_is_short() -> None:
    text = README.read_text()
    assert len(text.splitlines()) <= 120
    assert len(text.split()) <= 1200


def test_the_page_of_the_commands_is_current() -> None:
    assert commands_page.PAGE.read_text() == commands_page.page(), "run: nox -s docs"


def test_every_page_is_in_the_index() -> None:
    index = ROOT / "docs" / "index.md"
    [contents] = re.findall(r"```\{toctree\}\n:hidden:\n\n(.*?)```", index.read_text(), re.DOTALL)
    assert {f"{name}.md" for name in contents.split()} == {page.name for page in PAGES} - {"index.md"}
    assert {f"{name}.md" for name in contents.split()} <= {link.partition("#")[0] for link in links(index)}


def test_the_documents_name_the_workflow_as_it_is() -> None:
    workflow = WORKFLOW.read_text()
    for words in (
        'python -m pip install "nox[uv]"',
        "nox -s regression",
        "actions/upload-artifact@v7",
        "path: out/gate",
    ):
        assert words in workflow
        assert words in (ROOT / "docs" / "ci.md").read_text()


def messages() -> list[str]:
    """The texts in the code of the commands. Each placeholder of an f-string is a line break."""
    found = []
    for path in [*(ROOT / "harness").rglob("*.py"), ROOT / "noxfile.py"]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant | ast.JoinedStr):
                parts = node.values if isinstance(node, ast.JoinedStr) else [node]
                found.append("\n".join(str(getattr(part, "value", "")) for part in parts))
    return found


def test_every_message_in_troubleshooting_is_one_of_the_commands() -> None:
    text = "\n".join(messages())
    headings = re.findall(r"^### (.+)$", (ROOT / "docs" / "troubleshooting.md").read_text(), re.MULTILINE)
    parts = {part.strip(" ,") for heading in headings for part in heading.split("...")}
    assert {part for part in parts if part not in text} == FOREIGN_MESSAGES
    assert len(headings) > 30


@pytest.mark.slow
def test_the_site_builds_without_warnings(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "-E", str(ROOT / "docs")]
    done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "searchindex.js").is_file()
