"""The map: bounded voxel clouds in submaps, and how they are stored."""
