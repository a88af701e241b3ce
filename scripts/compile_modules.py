"""Compiles what nodes, commands and tests import, and the loops that Numba compiles, into their caches."""

import importlib

import numpy as np

from spann3r_ros.mapping import voxel_grid
from spann3r_ros.sim3 import Sim3
from spann3r_ros.synthetic.rendered_walk import RenderedWalk
from spann3r_ros.synthetic.scene import Scene

# PyTorch's optimizers import its compiler.
LATE = ("torch._dynamo", "matplotlib.pyplot", "hypothesis")
for name in ("torch", "cv2", "onnxruntime", "scipy.spatial", "spann3r_ros.cli.main", "spann3r_ros.ros.node", *LATE):
    importlib.import_module(name)
voxel_grid.warm_up()
pose = Sim3(translation=np.array([1.0, 1.0, 1.0]))
next(iter(RenderedWalk(Scene.apartment(), [pose, pose], 64, 48).frames()))
