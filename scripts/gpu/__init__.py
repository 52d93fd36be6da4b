"""Jobs for a quarter of an hour on a lent GPU; see scripts/gpu/README.md."""
