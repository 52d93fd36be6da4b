"""label and train: labelled structures, or a checkpoint, from structure files; the training of a diffusion model."""

import sys
from typing import Any

from omegaconf import OmegaConf

from gendesign.run.commands.runner import Job
from gendesign.run.folder import SUMMARY, to_json
from gendesign.run.table import MOST_ROWS, aligned
from gendesign.run.workers import set_threads
from gendesign.train import label_files, train_files

ERRORS = {  # of the table on the terminal, by their keys in errors.json
    "n": "structures",
    "energy_mae_mev_atom": "energy MAE (meV/atom)",
    "force_mae_mev_a": "force MAE (meV/Angstrom)",
    "stress_mae_mev_a3": "stress MAE (meV/Angstrom^3)",
}


def run_label(job: Job) -> list[str]:
    """Label structures by a teacher."""
    warnings: list[str] = []

    def warn(line: str) -> None:
        warnings.append(line)
        print(f"gendesign: warning: {line}", file=sys.stderr)

    counts = label_files(job.files, job.folder.path, **_settings(job), warn=warn)
    if warnings:
        content = to_json({"identity": job.folder.identity, "warnings": warnings})
        job.folder.replace(SUMMARY, lambda path: path.write_text(content))
    rows = [(name, str(count)) for name, count in counts.items()]
    output = job.folder.path
    return [*aligned(rows), f"results in {output}: labels.extxyz" + (", failures.csv" if counts["failed"] else "")]


def run_train(job: Job) -> list[str]:
    """Fit a potential to labels."""
    settings = _settings(job)
    set_threads(settings.pop("threads"))
    return training_lines(train_files(job.files, job.folder.path, **settings), str(job.folder.path))


def run_diffusion(job: Job) -> list[str]:
    """Train a diffusion model."""
    from gendesign.run.diffusion import train_diffusion  # other trainings need none of it

    settings = _settings(job)
    set_threads(settings.pop("threads"))
    errors = train_diffusion(job.folder.path, **settings)
    rows = [("noise (Angstrom)", "positions", "elements"), *((f"{level:g}", *values) for level, values in errors)]
    measured = [*aligned(rows), "error of the denoised held-out molecules over that of the noise"] if errors else []
    return [*measured, f"results in {job.folder.path}: card.md, curves.png, log.csv"]


def training_lines(errors: dict[str, dict[str, dict[str, float]]], output: str) -> list[str]:
    """A row per set and class of structures; `errors` by set, class and key, as errors.json holds them."""
    parts = [(name, kind, row) for name, kinds in errors.items() for kind, row in kinds.items()]
    keys = [key for key in ERRORS if any(key in row for _, _, row in parts)]
    rows = [("set", "class", *(ERRORS[key] for key in keys))]
    rows += [(name, kind, *(f"{row[key]:.4g}" if key in row else "" for key in keys)) for name, kind, row in parts]
    more = len(parts) - MOST_ROWS
    hidden = f" ({more} more rows)" if more > 0 else ""
    return [*aligned(rows[: MOST_ROWS + 1]), f"results in {output}: card.md, all errors in errors.json{hidden}"]


def _settings(job: Job) -> dict[str, Any]:
    """The keywords of `label_files` and `train_files`, which are the verbs' keys."""
    settings: Any = OmegaConf.to_container(job.config, resolve=True)
    return {key: value for key, value in settings.items() if key != "output"}
