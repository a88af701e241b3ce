"""File formats of clouds and trajectories, and writing that is whole or not there."""
