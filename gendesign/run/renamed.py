"""Keys that have another name now: the old one is refused with the new one named.

A section stands for all of its keys. Where a key was renamed differently in several sections of one name, all new names
are given, and the first that the settings have is named.
"""

RENAMED: dict[str, str | tuple[str, ...]] = {
    "generator.pressure": ("generator.objective_weight", "generator.halving.pressure"),  # of simgen, of perovskites
    # the agent and its objective
    "kept": "archive_size",
    "practice": "expert_iteration",
    "practice.every": "expert_iteration.relax_every",
    "ppo.trace": "ppo.gae_lambda",
    "ppo.clip": "ppo.clip_range",
    "ppo.value": "ppo.value_coef",
    "ppo.choice": "ppo.entropy_coef",
    "ppo.entropy": "ppo.continuous_entropy_coef",
    "ppo.gradient_clip": "ppo.max_grad_norm",
    "ppo.epochs": "ppo.n_epochs",
    "training.environments": "training.n_envs",
    "training.judge_every": "training.eval_freq",
    "training.judged": "training.n_eval_episodes",
    "training.target": "training.target_return",
    "policy.shortest": "policy.min_distance",
    "policy.longest": "policy.max_distance",
    "policy.narrowest": "policy.min_std",
    "policy.features.described": "policy.features.descriptor_layers",
    "reward.floor": "reward.min_reward",
    "reward.nearest": "reward.min_atomic_distance",
    "reward.farthest": "reward.max_solo_distance",
    "reward.contact": "reward.min_covalent_ratio",
    "reward.ceiling": "reward.max_gain_per_atom",
    "reward.weight": "reward.objective_weight",
    "reward.objective.memory": "reward.objective.diversity_filter",
    "task.pull": "task.distance_penalty",
    "task.reach": "task.max_distance",
}
