"""Jobs for a quarter of an hour on a borrowed GPU; see scripts/gpu/README.md."""
