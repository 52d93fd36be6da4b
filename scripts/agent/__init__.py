"""References for the benchmark of the agent."""
