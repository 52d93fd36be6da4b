"""Objectives: scores of finished candidates from 0 to 1. Generators select by them, agents are rewarded by them."""

from gendesign.objective.components import Component
from gendesign.objective.diversity_filter import DiversityFilter
from gendesign.objective.objective import Objective, Scored, build_objective
from gendesign.objective.scores import NAMED
from gendesign.objective.transforms import SHAPES, Transform

__all__ = ["NAMED", "SHAPES", "Component", "DiversityFilter", "Objective", "Scored", "Transform", "build_objective"]
