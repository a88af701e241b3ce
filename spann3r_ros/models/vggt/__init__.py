"""VGGT (Wang et al. 2025)."""
