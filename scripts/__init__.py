"""Recipes and measurements. Run them as modules from the root of the repository: python -m scripts.organic.train."""
