from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from spann3r_ros.models.pi3.camera_head import poses_from, rigid_inverse


def random_rotations(count: int) -> np.ndarray:
    return Rotation.random(count, random_state=0).as_matrix()


def test_a_rotation_with_rows_of_any_length_stays_itself() -> None:
    rotations = random_rotations(20)
    scaled = rotations * np.random.default_rng(0).uniform(0.1, 9.0, (20, 3, 1))
    translation = torch.arange(60.0).view(20, 3)
    pose = poses_from(translation, torch.from_numpy(scaled.reshape(20, 9)))
    np.testing.assert_allclose(pose[:, :3, :3], rotations, atol=1e-12)
    np.testing.assert_array_equal(pose[:, :3, 3], translation)
    np.testing.assert_array_equal(pose[:, 3], np.tile([0, 0, 0, 1], (20, 1)))


def test_no_rotation_is_nearer_and_a_mirror_becomes_one() -> None:
    rows = torch.randn(8, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rows /= rows.norm(dim=-1, keepdim=True)
    assert (torch.linalg.det(rows) < 0).any()
    found = poses_from(torch.zeros(8, 3), rows.flatten(1))[:, :3, :3]
    assert torch.allclose(torch.linalg.det(found), torch.ones(8).double())
    for other in torch.from_numpy(random_rotations(200)):
        assert ((found - rows).flatten(1).norm(dim=1) <= (other - rows).flatten(1).norm(dim=1) + 1e-9).all()


def test_what_is_not_finite_stays_so_and_raises_nothing() -> None:
    nine = torch.eye(3).flatten().repeat(2, 1)
    nine[1, 4] = torch.nan
    pose = poses_from(torch.zeros(2, 3), nine)
    assert torch.isfinite(pose[0]).all() and torch.isnan(pose[1]).all()


def test_a_rigid_inverse_undoes() -> None:
    pose = poses_from(torch.randn(5, 3), torch.randn(5, 9))
    torch.testing.assert_close(rigid_inverse(pose) @ pose, torch.eye(4).double().expand(5, 4, 4), rtol=0, atol=1e-12)
