"""Random structure search for hybrid halide perovskites from the composition alone (arXiv 2403.06955)."""
