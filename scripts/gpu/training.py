"""Train `organic` or `organic-cc` on packed labels, within the time that is left.

The fit lives in a scratch folder. Once a minute what is needed of it goes to the results: fit/ (resume=FOLDER) and
checkpoint/, a potential of the averaged weights that load_potential reads. By default the schedule ends with this run.
`time_limit` is that of all runs of a longer fit, each of which stops at its own end; resume=FOLDER continues.
"""

import json
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

from gendesign.potential import load_mace, mace, save_folder
from gendesign.train.dataset import Dataset
from gendesign.train.fit import STATE, Fit, State, fit
from gendesign.train.loss import errors
from gendesign.train.start import begin_from
from scripts.gpu import labels
from scripts.gpu.job import Job
from scripts.organic.labels import copied

ARCHITECTURE = ("cutoff", "channels", "max_ell", "max_l", "correlation", "layers", "n_bessel", "radial_mlp", "readout")
SHAPE = {"channels": 96, "max_ell": 2, "correlation": 3, "radial_mlp": [64, 64, 64]}
TEST_SHARE, MOST_TEST = 0.1, 40.0  # of the time left, at most so many seconds, for the errors on the test set
FIT_FILES = (STATE, "log.csv", "settings.json")


class OutOfTime(Exception):
    """The time of this run ends before that of the whole fit."""


def run(job: Job) -> None:
    """Train, write the checkpoint, and measure its errors on the packed test set."""
    kit = Path(job.take("kit", "gpu-kit"))
    data = labels.read(Path(job.take("labels", kit / f"{job.name}.npz")))
    test = Path(job.take("test", kit / f"{job.name}-test.npz"))
    old = job.take("replay", kit / "replay.npz" if job.name == "organic-cc" else None)
    resume, minute = job.take("resume", None), float(job.take("minute", 60))
    reserve = min(MOST_TEST, TEST_SHARE * job.left())
    architecture, start, replay = _network(job, data, None if old is None else labels.read(Path(old)))
    data = copied(data)
    folder = Path(tempfile.mkdtemp(prefix="fit-"))
    if resume is not None:
        for name in FIT_FILES:
            shutil.copy(Path(resume) / name, folder / name)
        job.options.setdefault("time_limit", json.loads((folder / "settings.json").read_text())["fit"]["time_limit"])
    ends_in_time = "time_limit" not in job.options
    settings = _settings(job, job.left() - reserve, minute)

    begun = time.time()

    def keep(state: State) -> None:
        _export(job, architecture, state, folder)
        if not ends_in_time and job.left() < reserve + minute and not state.is_finished(settings):
            raise OutOfTime

    try:
        fit(architecture, data, folder, settings, start, replay=replay, device=job.device, on_save=keep)
        finished = True
    except OutOfTime:
        finished = False
    row = _speed(folder, settings.batch_size)
    row |= {"finished": finished, "labels": len(data), "batch_size": settings.batch_size,
            "fit_seconds": round(time.time() - begun, 1)}  # fmt: skip
    if test.is_file():
        row |= _errors(job, labels.read(test))
    job.write(row)
    shutil.rmtree(folder)


def _network(job: Job, data: Dataset, replay: Dataset | None):
    """(architecture, initial weights, old data) of the fit; energies of atoms are those of the labels."""
    init = job.take("init", None)
    shape = {key: job.take(key, SHAPE.get(key)) for key in ARCHITECTURE if key in job.options or key in SHAPE}
    atoms = {**({} if replay is None else labels.isolated(replay)), **labels.isolated(data)}
    if init is None:
        return mace.new_mace(atomic_energies=atoms, **shape), None, replay
    architecture, start = begin_from(load_mace(init, device="cpu"), atoms)
    return architecture, start, replay


def _settings(job: Job, seconds: float, minute: float) -> Fit:
    """Settings of the fit: the options that are left. `time_limit` is that of all runs, this one by default."""
    given = {key: tuple(v) if isinstance(v, list) else v for key, v in job.options.items()}
    job.options.clear()
    usual = {"steps": 10**9, "batch_size": 256 if job.device.type == "cuda" else 16, "learning_rate": 0.006,
             "decay_from": 0.3, "save_every": 10**9, "save_seconds": minute, "time_limit": seconds}  # fmt: skip
    return Fit(**{**usual, **given})


def _export(job: Job, architecture: dict, state: State, folder: Path) -> None:
    """Copy the state and write the checkpoint of the averaged weights."""
    (job.out / "fit").mkdir(exist_ok=True)
    for name in FIT_FILES:
        shutil.copy(folder / name, job.out / "fit" / f"{name}.partial")
        (job.out / "fit" / f"{name}.partial").replace(job.out / "fit" / name)
    net = mace.from_plain(architecture)
    net.load_state_dict(state.net.state_dict())
    net.load_state_dict(state.average, strict=False)
    save_folder(net, job.out / "checkpoint", name=job.name, licence="MIT", citation="gendesign (this repository)",
                training={"steps": state.step, "seconds": round(state.seconds)})  # fmt: skip


def _speed(folder: Path, batch_size: int) -> dict:
    """Steps, and structures a second without the time to the first saved state."""
    rows = [line.split(",") for line in (folder / "log.csv").read_text().split()]
    step, seconds = rows[0].index("step"), rows[0].index("seconds")
    points = [(int(row[step]), float(row[seconds])) for row in rows[1:]]
    begin = max((k for k in range(1, len(points)) if points[k][1] < points[k - 1][1]), default=0)  # of this run
    first, last = points[begin] if len(points) > begin + 1 else (0, 0.0), points[-1]
    rate = (last[0] - first[0]) / max(1e-9, last[1] - first[1])
    return {"steps": last[0], "steps_per_second": round(rate, 2), "structures_per_second": round(rate * batch_size, 1)}


def _errors(job: Job, test: Dataset) -> dict:
    """Errors of the checkpoint on `test`: the table goes to errors.json, the means over all kinds are returned."""
    net = load_mace(job.out / "checkpoint", device=job.device).net
    table = errors(net, test, batch_size=256)
    (job.out / "errors.json").write_text(json.dumps(table, indent=1))
    n = np.array([row["n"] for row in table.values()])
    means = {key: float(np.average([row.get(key, 0.0) for row in table.values()], weights=n))
             for key in ("energy_mae_mev_atom", "force_mae_mev_a")}  # fmt: skip
    return {"test": int(n.sum()), **{key: round(value, 2) for key, value in means.items()}}
