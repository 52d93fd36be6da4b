"""The acetylacetone table of scripts/acac.py, trained until the time is up. Published MACE: see `TESTS` there."""

from pathlib import Path

from gendesign.train.training import train_files
from scripts.acac import ATOMS, TESTS
from scripts.gpu.job import Job

SHAPE = {"channels": 96, "max_ell": 3, "max_l": 1, "correlation": 3, "cutoff": 5.0, "radial_mlp": [64, 64, 64]}


def run(job: Job) -> None:
    """Fit to 500 geometries at 300 K within the time left, and write a line with all errors."""
    kit = Path(job.take("kit", "gpu-kit")) / "acac"
    init, architecture = job.take("init", None), {k: job.take(k, v) for k, v in SHAPE.items()}
    reserve = min(30.0, 0.15 * job.left())
    fit = {"steps": 10**9, "batch_size": 16, "learning_rate": 0.005, "decay_from": 0.3, "energy_weight": [1.0, 16.0],
           "save_every": 10**9, "save_seconds": 60.0, "time_limit": job.left() - reserve, **job.options}  # fmt: skip
    job.options.clear()
    tests = [kit / name for name in TESTS]
    files = [kit / "train_300K.xyz", kit / "isolated_atoms.xyz"]
    shape = None if init else architecture
    table = train_files(files, job.out / "acac", name="acac", init=init, split="frame", test_share=0.0,
                        valid_share=0.05, test=tests, architecture=shape, fit=fit, device=str(job.device))  # fmt: skip
    row: dict = {}
    for name, published in TESTS.items():
        (errors,) = table[name].values()
        title = name.removeprefix("test_").removesuffix(".xyz")
        row[title] = {"n": errors["n"], "energy_rmse_mev": round(ATOMS * errors["energy_rmse_mev_atom"], 2),
                      "force_rmse_mev_a": errors.get("force_rmse_mev_a"), "mace": published}  # fmt: skip
    job.write(row)
