"""validate: one potential measured, into a folder with its card."""

from typing import Any

from omegaconf import OmegaConf

from gendesign.run.commands.runner import Job
from gendesign.run.table import measured_table
from gendesign.run.validation import run_validation


def run_validate(job: Job) -> list[str]:
    """Make the tests and write the card."""
    output = job.folder.path
    settings: Any = OmegaConf.to_container(job.config, resolve=True)
    rows = run_validation(job.loaded_potential, job.files, settings, output)
    table = measured_table([row for group in rows.values() for row in group])
    return [table, f"results in {output}: open {output / 'card.html'}"]
