"""Fast3R (Yang et al. 2025)."""
