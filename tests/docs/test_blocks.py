"""The code of the documentation works as printed: Python blocks run, commands have settings that resolve."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from documentation import PAGES, REPOSITORY, Block, blocks, name_of

from gendesign.cli import verb_of
from gendesign.run import sweep
from gendesign.run.settings import resolve

VERBS = ("generate", "relax", "screen", "label", "train", "validate", "analyse", "distil", "export", "benchmark")
SHELL = [block for page in PAGES for block in blocks(page) if block.language == "sh"]
COMMANDS = [(block, words) for block in SHELL for words in block.commands]
PYTHON = [page for page in PAGES if any(block.language == "python" for block in blocks(page))]
EXECUTED = [block for block in SHELL if block.executed]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """An empty folder with the example files of the documentation, as the current one."""
    shutil.copytree(REPOSITORY / "docs/examples", tmp_path / "docs/examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", PYTHON, ids=name_of)
def test_python_blocks_of_a_page_run_in_order(page, folder):
    namespace = {"__name__": "page"}
    for block in blocks(page):
        if block.language == "python":
            # lines above the block keep line numbers of the page in tracebacks
            code = compile("\n" * (block.line - 1) + block.text, name_of(page), "exec")
            exec(code, namespace)


@pytest.mark.parametrize(
    ("block", "words"), COMMANDS, ids=[f"{name_of(block.page)}:{' '.join(words[:3])}" for block, words in COMMANDS]
)
def test_settings_of_a_command_resolve(block, words, folder):
    verb, rest = words[0], words[1:]
    if verb in ("--version", "--help", "install") or "--help" in rest:
        return
    if verb == "campaign":
        return campaign_resolves(rest)
    if verb == "view":
        return view_resolves(rest)
    assert verb in VERBS, f"{name_of(block.page)}:{block.line}: gendesign has no verb {verb}"
    verb, rest = verb_of(words)
    settings = [word for word in rest if "=" in word and word != "T=300K.xyz"]
    for word in settings:  # checkpoints that an earlier command of the page writes
        if word.startswith("potential=results/"):
            (folder / word.removeprefix("potential=")).mkdir(parents=True)
    for run in sweep.plan(verb, settings, "--sweep" in rest):
        resolve(verb, run.overrides)


def view_resolves(words):
    """The options of the interactive tool are ones that there are."""
    from gendesign.view.command import _parser

    options = _parser().parse_args(words)
    resolve("generate", [word for word in options.what if "=" in word])


def campaign_resolves(words):
    """The settings of a campaign, or an action on a folder, are ones that there are."""
    from gendesign.campaign.commands import ACTIONS
    from gendesign.campaign.config import configure, experiment, read

    if words[0] in ACTIONS:
        return
    keys = dict(word.split("=", 1) for word in words)
    configure(read(experiment(keys.pop("experiment")), [f"{key}={value}" for key, value in keys.items()]))


@pytest.mark.parametrize("block", EXECUTED, ids=[f"{name_of(block.page)}:{block.line}" for block in EXECUTED])
def test_marked_shell_blocks_are_executed(block: Block, folder):
    program = folder / "bin/gendesign"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m gendesign.cli "$@"\n')
    program.chmod(0o755)
    paths = {"PATH": f"{program.parent}:{os.environ['PATH']}", "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(["sh", "-e", "-c", block.text], cwd=folder, env={**os.environ, **paths}, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
