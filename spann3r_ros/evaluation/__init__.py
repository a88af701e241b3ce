"""Trajectories, geometry, datasets and reports."""
