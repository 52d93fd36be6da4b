"""analyse: structures of files as models, or the score of a diffusion model, into a folder with tables and figures."""

import sys
from contextlib import ExitStack
from dataclasses import fields
from typing import Any

from omegaconf import OmegaConf
from rich.console import Console
from tqdm import tqdm

from gendesign.analysis.analyse import Progress, analyse_files
from gendesign.analysis.compiled import HAS_NUMBA
from gendesign.analysis.report import lines
from gendesign.analysis.settings import Analysis
from gendesign.run.commands.runner import Job
from gendesign.run.workers import set_threads


def run_analyse(job: Job) -> list[str]:
    """Analyse all models; returns the table for the terminal."""
    content: Any = OmegaConf.to_container(job.config, resolve=True)
    names = {field.name for field in fields(Analysis)}
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in content.items() if key in names
    }
    set_threads(content["threads"])
    output = job.folder.path
    with ExitStack() as ending:
        report = analyse_files(job.files, output, Analysis(**values), job.potential, _progress(ending))
    if not HAS_NUMBA and any("rings" in one.seconds for one in report.found):
        Console(stderr=True).print("rings are searched without numba, slowly; pip install 'gendesign[amorphous]'")
    return lines(report, output)


def run_score(job: Job) -> list[str]:
    """Compare the score of a diffusion model with forces; returns its numbers for the terminal."""
    from gendesign.run.score import Analysis as ScoreAnalysis  # other analyses need none of it
    from gendesign.run.score_settings import ScoreSettings

    content: Any = OmegaConf.to_container(job.config, resolve=True)
    names = {field.name for field in fields(ScoreSettings)}
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in content.items() if key in names
    }
    set_threads(content["threads"])
    analysis = ScoreAnalysis(ScoreSettings(**values), job.potential, job.folder.path, content["seed"])
    with ExitStack() as ending:
        analysis.tell = _progress(ending, "score")
        return analysis.run()


def _progress(ending: ExitStack, title: str = "analyse") -> Progress:
    """A bar that appears with the first part, so that a mistake in the settings is one line."""
    bars: list[tqdm[Any]] = []

    def show(part: str, done: int, total: int) -> None:
        if not bars:
            bars.append(ending.enter_context(tqdm(desc=title, unit="part", total=total, file=sys.stderr)))
        bars[0].total = total
        bars[0].set_postfix_str(part, refresh=False)
        bars[0].n = done
        bars[0].refresh()

    return show
