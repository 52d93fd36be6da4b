"""Scores of finished candidates, from 0 to 1: what a generator selects by and what an agent is paid."""

from gendesign.objective.components import Component
from gendesign.objective.memory import Memory
from gendesign.objective.objective import Objective, Scored, build_objective
from gendesign.objective.scores import NAMED
from gendesign.objective.transforms import SHAPES, Transform

__all__ = ["NAMED", "SHAPES", "Component", "Memory", "Objective", "Scored", "Transform", "build_objective"]
