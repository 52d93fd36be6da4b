"""Measure the bundled agent on formulas it never saw and write its card.

    python -m scripts.agent.card [results/builder] [checkpoints/builder] [REMARK]
The first folder is that of `gendesign train generator=agent experiment=builder`; its agent is measured. The second one
receives card.md; copy config.yaml and weights.safetensors there first. REMARK: a sentence about the training.
"""

import csv
import sys
import textwrap
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

import torch  # noqa: E402
import yaml  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from tqdm import tqdm  # noqa: E402

from gendesign.benchmark import building  # noqa: E402
from gendesign.benchmark.agent import UNSEEN  # noqa: E402
from gendesign.benchmark.record import hardware  # noqa: E402
from gendesign.generate.rl.archive import Archive  # noqa: E402
from gendesign.generate.rl.checkpoint import load_agent  # noqa: E402
from gendesign.generate.rl.tasks import SingleBag  # noqa: E402
from gendesign.potential import load_potential  # noqa: E402
from gendesign.run.conf import conf_folder  # noqa: E402

HETERO = ("C4H9F", "C4H9Cl", "C3H6S", "C4H10S", "C2H6OS", "C2H4ClNO", "C3H5FO")
EPISODES = 200
BATCH = 256  # placements of one update, a row of log.csv
TEMPLATE = (Path(__file__).parent / "card.md.in").read_text()


def measured(agent: Path, formulas: tuple[str, ...]) -> list[tuple[str, int, int, int]]:
    """(formula, drawn, valid, distinct isomers) of molecules drawn from the agent, nothing chosen."""
    potential = load_potential("organic", device="cpu")
    policy, reward = load_agent(str(agent), potential), building.reward_of(potential)
    rows = []
    for formula in tqdm(formulas, desc="formulas"):
        drawn = building.run_episodes(policy, SingleBag(formula), reward, EPISODES)
        isomers = building.valid(drawn.finished)
        rows.append((formula, drawn.count, sum(map(len, isomers.values())), len(isomers)))
    return rows


def table(rows: list[tuple[str, int, int, int]]) -> str:
    """The rows as a Markdown table."""
    lines = [f"| {formula} | {100 * valid / drawn:.0f} % | {isomers} |" for formula, drawn, valid, isomers in rows]
    return "\n".join([f"| formula | valid of {EPISODES} | isomers |", "|---|---|---|", *lines])


def share(rows: list[tuple[str, int, int, int]]) -> str:
    """Valid molecules and distinct isomers of several formulas, in words."""
    drawn, valid, isomers = (sum(row[k] for row in rows) for k in (1, 2, 3))
    return f"{valid} of {drawn} valid, {isomers} distinct isomers"


def main(folder: str = "results/builder", out: str = "checkpoints/builder", remark: str = "") -> None:
    """Measure the agent in `folder` and write card.md to `out`, with a `remark` about its training."""
    config = yaml.safe_load((Path(folder) / "config.yaml").read_text())
    experiment = yaml.safe_load((conf_folder() / "experiment" / "builder.yaml").read_text())
    archive = Archive.from_state(torch.load(Path(folder) / "state.pt", weights_only=True)["archive"])
    with (Path(folder) / "log.csv").open() as file:
        seconds = sum(BATCH / float(row["steps_per_second"]) for row in csv.DictReader(file))
    common, other = measured(Path(folder), UNSEEN), measured(Path(folder), HETERO)
    formulas = experiment["task"]["formulas"]
    unseen = f"{table(common)}\n\nWith F, S and Cl:\n\n{table(other)}"
    weights = load_file(Path(out) / "weights.safetensors")
    text = TEMPLATE.format(
        elements=" ".join(config["elements"]), formulas=textwrap.fill(" ".join(formulas), 110),
        n_formulas=len(formulas), minutes=seconds / 60, remark=f"\n  {remark}" if remark else "",
        weights=sum(tensor.numel() for tensor in weights.values()),
        channels=config["policy"]["features"]["channels"], max_l=config["policy"]["features"]["max_l"],
        isomers=sum(map(len, archive.best.values())), stable=archive.n_stable, relaxed=archive.n_relaxed,
        drawn=EPISODES, unseen=unseen, common=share(common), other=share(other), hardware=hardware(),
        **{key: config[key] for key in ("steps", "potential", "potential_sha256", "weights_sha256")},
    )  # fmt: skip
    (Path(out) / "card.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
