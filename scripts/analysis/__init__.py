"""Measurements of the analysis of amorphous models."""
