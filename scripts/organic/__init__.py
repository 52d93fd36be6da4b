"""The recipe of the checkpoint `organic`."""
