"""Similarity-based generation (SiMGen)."""

from gendesign.generate.simgen.generator import SimGen

__all__ = ["SimGen"]
