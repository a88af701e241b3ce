"""StreamVGGT (Zhuo et al. 2025)."""
