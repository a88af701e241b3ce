"""DUSt3R (Wang et al. 2024)."""
