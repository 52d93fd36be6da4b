"""Keys that have another name now: the old one is refused with the new one named."""

RENAMED: dict[str, str] = {
    "generator.pressure": "generator.objective_weight",  # of simgen; a perovskite's is generator.halving.pressure
    # the agent and its objective
    "reward.objective.memory": "reward.objective.diversity_filter",
}
