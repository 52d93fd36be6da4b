"""Potentials against published values that no teacher of ours made; see docs/notebook/published.md."""
