"""A finished campaign of cheap candidates, for what budgets would have missed (README.md)."""
