"""SALAD: one vector that recognizes the place of an image (Izquierdo and Civera, CVPR 2024)."""
