"""References of the agent's benchmark."""
