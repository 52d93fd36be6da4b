"""Energy-based diffusion model of molecules (arXiv 2402.08708): an energy whose gradient is the score."""
