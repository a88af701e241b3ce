"""Frames that wait in a memory, as tensors of a snapshot."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spann3r_ros.frame import Frame, Intrinsics
from spann3r_ros.sim3 import Sim3


def save_frame(frame: Frame, name: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Add the image, and depth, to the tensors of a snapshot under a name; return the rest for its state."""
    tensors[name] = torch.tensor(frame.image)
    if frame.depth is not None:
        tensors[f"{name}.depth"] = torch.tensor(frame.depth)
    return {
        "index": frame.index,
        "stamp": frame.stamp,
        "camera": frame.camera,
        "intrinsics": frame.intrinsics and dataclasses.asdict(frame.intrinsics),
        "prior": frame.prior and frame.prior.matrix().tolist(),
    }


def load_frame(name: str, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> Frame:
    """What ``save_frame`` stored."""
    intrinsics = state["intrinsics"] and Intrinsics(**state["intrinsics"])
    prior = state["prior"] and np.array(state["prior"])
    depth = tensors.get(f"{name}.depth")
    return Frame(
        state["index"],
        state["stamp"],
        state["camera"],
        tensors[name].numpy(),
        intrinsics,
        Sim3.rigid(prior[:3, :3], prior[:3, 3]) if prior is not None else None,
        None if depth is None else depth.numpy(),
    )
