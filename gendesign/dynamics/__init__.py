"""Molecular dynamics of many structures at once.

trajectories.py   trajectories by the integrators of torch-sim
state.py          positions, momenta and forces of a batch, with what a restart needs
integrators.py    velocity Verlet, Langevin, Nose-Hoover chain, stochastic cell rescaling
runs.py           runs with temperature and pressure ramps, checkpoints and a verdict for each structure
watch.py          what ends a structure, and the test of a timestep
"""

from typing import TYPE_CHECKING

from gendesign.lazy import lazy_names

if TYPE_CHECKING:
    from gendesign.dynamics.runs import Conditions, run_dynamics
    from gendesign.dynamics.trajectories import molecular_dynamics

__getattr__, __dir__, _ = lazy_names(
    __name__,
    {
        "molecular_dynamics": "gendesign.dynamics.trajectories",
        "Conditions": "gendesign.dynamics.runs",
        "run_dynamics": "gendesign.dynamics.runs",
    },
)
__all__ = ["Conditions", "molecular_dynamics", "run_dynamics"]
