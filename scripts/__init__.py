"""Recipes and measurements, run from the repository's root as modules: python -m scripts.organic.train."""
