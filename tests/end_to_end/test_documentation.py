"""What the pages say: commands are run as they stand there, other blocks can at least be read.

Each shell block of a page is run in a fresh clone, in the order of the page, unless its first line
says why not. A block whose first line is `# PATH` is put into that file. What was run and what was
not, and why, is printed at the end of the tests (conftest.py).
"""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
import yaml

from bot.cli import app
from common.errors import UserError
from infra import supply_chain
from infra.tools import virtual_environment
from localaws.terraform import mirror_environment, provider_mirror
from tests.support import ROOT
from tests.support.documented import NOT_RUN, STAYS, Block, blocks
from tests.support.running_bot import is_free
from tests.support.terminal import Terminal, clone_project, files_of, lend_environment

PAGES = [path for path in files_of(ROOT) if path.suffix == ".md"]
# Whose commands another test runs, as they stand there.
ELSEWHERE = {"docs/plugin.md": "tests/infra/test_plugin.py"}
LANGUAGES = {"sh", "python", "yaml", "json", "js", "mermaid", "diff", "text"}
PORTS = (5005, 5055, 4566)  # the defaults, which the pages have
# Not part of a machine that runs the tests. Blocks that need one are counted as not run.
TOOLS = ("aws", "curl", "jq", "terraform")

GENERATED = ("build/", "models/", "results/")
# Files that commands of ours make.
MADE = {
    ROOT / "data" / "directory.db",
    ROOT / "data" / "reviewed.json",
    ROOT / "infra" / "terraform" / "terraform.tfvars",
}

# As good for trying what docs/dialogue.md says, and trained in seconds instead of minutes.
QUICK_CONFIG = """\
recipe: default.v1
language: fr
assistant_id: skills-bot
pipeline:
  - name: components.tokenizer.FrenchTokenizer
  - name: CountVectorsFeaturizer
  - name: LogisticRegressionClassifier
  - name: components.gazetteer.GazetteerEntityExtractor
policies:
  - name: RulePolicy
"""


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def every(*languages: str) -> list[Block]:
    return [block for page in PAGES for block in blocks(page) if block.language in languages]


# --- commands ---------------------------------------------------------------------------------


def missing(block: Block, path: str) -> str | None:
    """Return a program that a block needs and this machine lacks."""
    for tool in TOOLS:
        if re.search(rf"(?:^|[|(&]) *{tool}\b", block.text, re.MULTILINE):
            there = shutil.which(tool, path=path) is not None
            if not there or (tool == "terraform" and provider_mirror() is None):
                return tool
    if ".venv-audit" in block.text or "make audit" in block.text:
        try:
            virtual_environment(supply_chain.TOOLS, supply_chain.TOOLS_LOCK)
        except UserError:
            return "a package registry"
    return None


def tools_folder(folder: Path) -> Path:
    """Return a folder for the PATH that has the AWS CLI, where only some Python of pyenv has it."""
    folder.mkdir()
    if subprocess.run("aws --version", shell=True, capture_output=True).returncode != 0:
        for program in sorted(Path.home().glob(".pyenv/versions/*/bin/aws"))[-1:]:
            (folder / "aws").symlink_to(program)
    return folder


@pytest.fixture
def terminal(trained_model: Path, tmp_path: Path) -> Iterator[Terminal]:
    """A terminal in a fresh clone, which has the packages, encoder and model of this checkout."""
    clone = tmp_path / "clone"
    clone_project(ROOT, clone)
    lend_environment(clone, ROOT)
    # As of now: newer than what the encoder is made from.
    models = clone / "models"
    shutil.copytree(ROOT / "models", models, dirs_exist_ok=True, copy_function=shutil.copy)
    if supply_chain.TOOLS.exists():
        (clone / supply_chain.TOOLS.name).symlink_to(supply_chain.TOOLS)
    tools = tools_folder(tmp_path / "tools")
    environ = {
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        # Its question is answered by « yes »; it mostly waits.
        "TF_CLI_ARGS_apply": "-auto-approve -parallelism=40",
        "TF_CLI_ARGS_destroy": "-auto-approve -parallelism=40",
        **mirror_environment(tmp_path),
    }
    with Terminal(clone, tmp_path, environ) as opened:
        yield opened
    shutil.rmtree(clone)


def write_snippet(block: Block, folder: Path) -> None:
    """Do what a reader does with a block that names its file: see docs/dialogue.md.

    YAML goes into the sections of the same name, before what is there; else it is a new file.
    """
    name, content = block.file, block.text.partition("\n")[2]
    assert name is not None
    path = folder / name
    if path.suffix == ".py" or not path.exists():
        assert not path.exists(), f"{block}: {name} exists"
        path.write_text(content, encoding="utf-8")
        return
    text = path.read_text(encoding="utf-8")
    for section in re.split(r"^(?=\w)", content, flags=re.MULTILINE)[1:]:
        head = section.partition("\n")[0]
        assert re.search(rf"^{head}$", text, re.MULTILINE), f"{block}: {name} has no '{head}'"
        before, after = re.split(rf"^{head}\n", text, maxsplit=1, flags=re.MULTILINE)
        text = f"{before}{section.rstrip()}\n{after}"
    path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "sh")], ids=name_of)
def test_commands_run_as_they_stand(
    page: Path, request: pytest.FixtureRequest, record_property: Any
) -> None:
    name = name_of(page)
    reasons = {
        block: block.reason or (f"run by {ELSEWHERE[name]}." if name in ELSEWHERE else None)
        for block in blocks(page, "sh")
    }
    if not all(reasons.values()):
        reasons.update(follow(page, request.getfixturevalue("terminal"), reasons))
    for block, reason in reasons.items():
        record_property("documented", json.dumps([f"{name}:{block.line}", reason]))


def follow(
    page: Path, terminal: Terminal, reasons: dict[Block, str | None]
) -> dict[Block, str | None]:
    """Do all that a page says but the blocks that have a reason; return what could not be done."""
    name = name_of(page)
    if name == "docs/dialogue.md":
        (terminal.folder / "config.yml").write_text(QUICK_CONFIG, encoding="utf-8")
    if any(block.stays for block in reasons):
        wait_for_ports()
    for number, block in enumerate(blocks(page)):
        if block.file:
            write_snippet(block, terminal.folder)
        if block.language != "sh" or reasons[block]:
            continue
        if tool := missing(block, terminal.path):
            left = [one for one in blocks(page)[number:] if one.language == "sh"]
            return dict.fromkeys(left, f"needs {tool}, which is not on this machine.")
        terminal.run(block)
    for shown in SHOWN.get(name, []):
        assert shown in terminal.output
    if name == "README.md":
        hold_conversation(page)
    return {}


def wait_for_ports(seconds: float = 300) -> None:
    """Wait until the usual ports are free: another checkout may be tested on this machine."""
    deadline = time.monotonic() + seconds
    while taken := [port for port in PORTS if not is_free(port)]:
        assert time.monotonic() < deadline, f"stop what listens on {taken}: the pages name them"
        time.sleep(0.5)


def our_number() -> str:
    with (ROOT / "data" / "directory.csv").open(encoding="utf-8", newline="") as file:
        people = list(csv.DictReader(file))
    return f"Nous sommes {len(people)}, dans {len({one['agency'] for one in people})} agences."


def hold_conversation(page: Path) -> None:
    """Say what the page says to the running bot, which answers as it does there.

    « … » stands for the rest of a line, the date of the directory for any other.
    """
    domain = yaml.safe_load((ROOT / "domain.yml").read_text(encoding="utf-8"))
    variants = [[one.get("text", "") for one in said] for said in domain["responses"].values()]
    (dialogue,) = blocks(page, "text")
    for turn in dialogue.text.split("> ")[1:]:
        question, *shown = turn.splitlines()
        url = "http://127.0.0.1:5005/webhooks/rest/webhook"
        answer = httpx.post(url, json={"sender": "page", "message": question}, timeout=60).json()
        texts = [part["text"] for part in answer if "text" in part]
        said = "\n".join(
            [*texts, *(one for group in variants if {*texts} & {*group} for one in group)]
        )
        titles = {button["title"] for part in answer for button in part.get("buttons", [])}
        for line in shown:
            assert {*re.findall(r"\[([^]]+)\]", line)} <= titles, f"{question}: {titles}"
            expected = re.sub(r"\[[^]]+\]|…$", "", line).strip()
            assert on_any_day(expected) in on_any_day(said), f"{question}: {said}"


def on_any_day(text: str) -> str:
    return re.sub(r"\d\d/\d\d/\d{4}", "DD/MM/YYYY", text)


# What the output of a page's commands has in it, where an exit status tells too little.
SHOWN: dict[str, list[str]] = {
    "README.md": ["Architecte cloud (Nantes)"],
    "docs/dialogue.md": [our_number()],
    "docs/mobile.md": ['"technologies"', "Python"],
    "docs/observability.md": ["skills_bot_model_loaded 1.0"],
    "docs/operations.md": ["WHO_KNOWS_ABOUT"],
    "docs/aws.md": ["DEPLOYED"],
}


# --- what is not run can be read --------------------------------------------------------------


def test_commands_stand_in_shell_blocks() -> None:
    """Else they would escape the test above."""
    command = re.compile(
        r"^ *(\$ )?(sudo|make|bot|rasa|python3?|pip|uv|curl|aws|terraform|docker|npm|export|source)"
        r" [\w./-]",
        re.MULTILINE,
    )
    for page in PAGES:
        for block in blocks(page):
            assert block.language in LANGUAGES, f"{block}: one of {sorted(LANGUAGES)}"
            assert block.language == "sh" or not command.search(block.text), f"{block}: not `sh`"
            for line in block.text.splitlines()[1:]:
                assert not line.startswith((NOT_RUN, STAYS)), f"{block}: belongs into line 1"


@pytest.mark.parametrize("block", every("sh"), ids=str)
def test_shell_can_be_read(block: Block) -> None:
    done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", every("python", "yaml", "json"), ids=str)
def test_snippets_can_be_read(block: Block) -> None:
    if block.language == "python":
        compile(block.text, str(block), "exec")
    elif block.language == "yaml":
        assert yaml.safe_load(block.text)
    else:
        # Several objects; an ellipsis stands for further ones, or for the rest of a text.
        assert json.loads(re.sub(r", …(?=[]}])", "", block.text))


def commands_in(text: str) -> Iterator[list[str]]:
    """Give the simple commands of a line of shell as words, without comments."""
    try:
        words = shlex.split(text, comments=True)
    except ValueError:  # a part of a command
        return
    command: list[str] = []
    for word in [*words, "&&"]:
        if word in ("&&", "||", "|", ";"):
            while command and re.fullmatch(r"[A-Z_]+=.*", command[0]):
                command.pop(0)
            if command:
                yield command
            command = []
        else:
            command.append(word)


def problem(words: list[str]) -> str | None:
    """Return what does not exist of a command, by the project's own ways to start something."""
    if words[0] == "make":
        targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        named = {word for word in words[1:] if re.fullmatch(r"[a-z][a-z-]*", word)}
        wrong = sorted(named - targets)
        return f"no target {wrong}" if wrong else None
    if words[:2] == ["python", "-m"] and re.fullmatch(r"[\w.]+", module := words[2]):
        return None if importlib.util.find_spec(module) else f"no module {module}"
    if words[0] != "bot":
        return None
    command: Any = typer.main.get_command(app)
    for place, word in enumerate(words[1:], 1):
        if hasattr(command, "commands") and not word.startswith("-"):
            for alternative in word.split("|"):
                if alternative not in command.commands and re.fullmatch(r"[a-z]+", alternative):
                    return f"no {' '.join(words[:place])} {alternative}"
            if word not in command.commands:
                return None
            command = command.commands[word]
        elif word.startswith("--") and word != "--":
            options = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
            if word.partition("=")[0] not in {*options, "--help"}:
                return f"{' '.join(words[:place])} has no {word}"
    return None


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_that_are_named_exist(page: Path) -> None:
    """In texts and in blocks that are not run too."""
    text = page.read_text(encoding="utf-8")
    spans = [span.replace("\n", " ") for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", text)]
    shell = "".join(block.text for block in blocks(page, "sh")).replace("\\\n", " ")
    lines = [*spans, *shell.splitlines()]
    found = [problem(words) for line in lines for words in commands_in(line)]
    assert [one for one in found if one] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_that_are_named_exist(page: Path) -> None:
    """By a link, or by a path from the root of the repository."""
    text = page.read_text(encoding="utf-8")
    # Not `[nantes](agency)`, which is an annotation, and no address of the web.
    targets = re.findall(r"\]\(([^)#:\s]*[./][^)#:\s]*)(?:#[^)]*)?\)", text)
    links = {page.parent / target for target in targets}
    folders = "|".join(path.name for path in sorted(ROOT.glob("[a-z]*/")) if path.is_dir())
    names = re.findall(rf"(?<![\w./(-])((?:{folders})/[\w./-]+\.[a-z]+)\b", text)
    named = {ROOT / name for name in names if not name.startswith(GENERATED)}
    written = {ROOT / name for one in every("yaml", "python") if (name := one.file)}
    missing = {path for path in links | named if not path.exists()} - written - MADE
    assert sorted(str(path) for path in missing) == []


# --- the terminal itself ----------------------------------------------------------------------


def shell(text: str) -> Block:
    return Block(Path("page.md"), 1, "sh", text)


@pytest.mark.parametrize(
    "text",
    [
        "false\ntrue\n",
        "false | cat\n",
        "no-such-command\n",
        f"{STAYS}; what follows goes into a second terminal.\necho Ctr\n",
    ],
)
def test_a_failing_command_is_noticed(text: str, tmp_path: Path) -> None:
    with (
        Terminal(tmp_path, tmp_path, {}) as opened,
        pytest.raises(AssertionError, match="failed"),
    ):
        opened.run(shell(text))


def test_what_is_left_behind_is_noticed(tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match="left behind"),
        Terminal(tmp_path, tmp_path, {}) as opened,
    ):
        opened.run(shell("setsid sleep 60 &\n"))


def test_blocks_share_a_shell_and_what_stays_is_stopped(tmp_path: Path) -> None:
    with Terminal(tmp_path, tmp_path, {}) as opened:
        opened.run(shell("mkdir inner\ncd inner\nexport ANSWER=42\n"))
        opened.run(shell(f'{STAYS}; …\necho "Ctrl-C ends $ANSWER"\nexec sleep 600\n'))
        assert opened.run(shell('echo "$ANSWER in $(basename "$PWD")"\n')) == "42 in inner\n"
