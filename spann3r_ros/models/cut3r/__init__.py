"""CUT3R (Wang et al. 2025)."""
