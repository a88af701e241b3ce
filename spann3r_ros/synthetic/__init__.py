"""A procedural apartment: scene, renderer, trajectories and bags."""
