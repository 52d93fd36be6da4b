"""The wheel carries what a checkout has: settings and checkpoints are found from an installed copy."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
ASK = """
from pathlib import Path
import gendesign
from gendesign.run.conf import conf_folder
from gendesign.run.help import describe
from gendesign.potential.zoo import bundled, checkpoints_folder
home = Path(gendesign.__file__).parent
assert conf_folder() == home / "conf", conf_folder()
assert checkpoints_folder() == home / "checkpoints", checkpoints_folder()
assert "generator.n_heavy_atoms" in describe("generate")
assert (home / "run" / "report.html.j2").is_file()
assert (home / "run" / "explorer.html.j2").is_file()
assert bundled() == ["hoip", "organic", "organic-cc", "silicon-oxygen", "silicon-oxygen-fast"]
print(home, *sorted(path.parent.name for path in checkpoints_folder().glob("*/weights.safetensors")))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A folder with the built wheel and nothing else of ours."""
    built, target = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("installed")
    quiet = {"check": True, "capture_output": True, "text": True}
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", built], cwd=REPOSITORY, **quiet)
    (wheel,) = built.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--target", target, wheel], **quiet)
    return target


def run(installed: Path, elsewhere: Path, *words: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    return subprocess.run([sys.executable, *words], cwd=elsewhere, env=environment, capture_output=True, text=True)


def test_installed_wheel_finds_its_settings_and_checkpoints(installed, tmp_path):
    done = run(installed, tmp_path, "-c", ASK)
    assert done.returncode == 0, done.stderr
    home, *names = done.stdout.splitlines()[-1].split()
    assert Path(home) == installed / "gendesign"
    assert names == sorted(path.parent.name for path in REPOSITORY.glob("checkpoints/*/weights.safetensors"))


def test_installed_command_answers(installed, tmp_path):
    (script,) = (installed / "bin").glob("gendesign*")
    done = run(installed, tmp_path, str(script), "generate", "bogus=1")
    assert done.returncode == 2 and done.stderr.startswith("gendesign: unknown key 'bogus'")


def test_installed_wheel_has_the_page_of_the_interactive_tool(installed):
    page, own = installed / "gendesign/view/page", REPOSITORY / "gendesign/view/page"
    ours = {path.relative_to(own).as_posix() for path in own.rglob("*") if path.is_file()}
    assert {"index.html", "style.css", "main.js"} <= ours
    assert {path.relative_to(page).as_posix() for path in page.rglob("*") if path.is_file()} == ours
