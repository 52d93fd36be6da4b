"""The card of a trained checkpoint: training data, fit and errors."""

from collections.abc import Mapping
from typing import Any

from ase.data import chemical_symbols

COLUMNS = {
    "n": "structures",
    "energy_mae_mev_atom": "energy MAE",
    "energy_rmse_mev_atom": "energy RMSE",
    "force_mae_mev_a": "force MAE",
    "force_rmse_mev_a": "force RMSE",
    "stress_mae_mev_a3": "stress MAE",
    "force_rms_mev_a": "labels' force RMS",
}


def card(
    name: str,
    licence: str,
    architecture: Mapping[str, Any],
    settings: Mapping[str, Any],
    counts: Mapping[str, int],
    table: Mapping[str, Mapping[str, Mapping[str, float]]],
) -> str:
    """The card in Markdown. counts: structures by set; table: errors by set and class (`train.loss.errors`)."""
    used = [key for key in COLUMNS if any(key in row for rows in table.values() for row in rows.values())]
    lines = [
        "| set | class | " + " | ".join(COLUMNS[key] for key in used) + " |",
        "|---" * (len(used) + 2) + "|",
        *(
            f"| {part} | {kind} | " + " | ".join(f"{row[key]:.4g}" if key in row else "" for key in used) + " |"
            for part, rows in table.items()
            for kind, row in rows.items()
        ),
    ]
    isolated = zip(architecture["atomic_numbers"], architecture["atomic_energies"], strict=True)
    return f"""# {name}

A machine-learned interatomic potential, fitted by `gendesign train`.

- **Licence:** {licence}
- **Network:** MACE, {architecture["hidden_irreps"]} features, {architecture["num_interactions"]} layers, cutoff \
{architecture["r_max"]} Angstrom, l_max {architecture["max_ell"]}, correlation {architecture["correlation"]}.
- **Data:** {", ".join(f"{n:,} {part}" for part, n in counts.items())}; files {", ".join(settings["files"])}\
{f"; started from {settings['init']}" if settings["init"] else ""}.
- **Isolated atoms, eV:** {", ".join(f"{chemical_symbols[z]} {e:.4f}" for z, e in isolated)}.
- **Fit:** {settings["steps"]:,} steps of {settings["batch_size"]}, learning rate {settings["learning_rate"]}, \
seed {settings["seed"]}; the average of the weights.

## Errors

{chr(10).join(lines)}

Energies in meV/atom, forces in meV/Angstrom per component, stresses in meV/Angstrom^3. `train` is a sample of the
training data; the other sets were not trained on.

![Errors against steps](curves.png)

![Predictions against labels](parity.png)

## Limits

Do not use it for structures unlike its training data: other elements, charges, phases or temperatures.
`gendesign validate` tests its physics.
"""
