"""generate, relax, screen and the training of an agent: candidates into a results folder."""

from gendesign.run.agents import train_agent
from gendesign.run.build import make_run
from gendesign.run.commands.runner import Job
from gendesign.run.table import terminal_lines


def run_structures(job: Job) -> list[str]:
    """Make, relax and screen candidates."""
    return terminal_lines(make_run(job.config, job.files, job.loaded_potential, job.folder), job.folder.path)


def run_agent(job: Job) -> list[str]:
    """Train an agent, then relax and screen its best molecules."""
    return terminal_lines(train_agent(job.config, job.files, job.loaded_potential, job.folder), job.folder.path)
