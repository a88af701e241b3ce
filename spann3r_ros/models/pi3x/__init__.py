"""Pi3X: pi^3 with a metric scale, and with what is known of cameras, poses and depth (Wang et al. 2025)."""
