"""The recipe of the checkpoint `hoip` (README.md)."""
