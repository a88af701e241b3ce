from __future__ import annotations

import math

import pytest
import torch

from spann3r_ros.errors import ConfigError
from spann3r_ros.models.fast3r.image_ids import id_embedding, image_ids


def test_ids_are_drawn_once_for_all_runs() -> None:
    torch.manual_seed(3)
    first = image_ids(20, 5)
    torch.manual_seed(4)
    assert torch.equal(image_ids(20, 5), first) and not torch.equal(image_ids(20, 6), first)
    assert first.shape == (1, 20) and first[0, 0] == 0 and len(set(first[0].tolist())) == 20
    assert first[0, 1:].min() >= 1 and first[0, 1:].max() <= 999


def test_every_id_is_drawn_when_all_are_needed() -> None:
    assert sorted(image_ids(1000, 0)[0].tolist()) == list(range(1000))


def test_without_a_seed_they_count() -> None:
    assert image_ids(4, None).tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize("views", [0, 1001])
@pytest.mark.parametrize("seed", [None, 0])
def test_the_table_ends(views: int, seed: int | None) -> None:
    with pytest.raises(ConfigError, match=rf"at once: got {views}; expected 1 .. 1000"):
        image_ids(views, seed)


def test_a_row_is_sines_and_cosines() -> None:
    row = id_embedding(torch.tensor([[0, 17]]), 8)
    assert row.shape == (1, 2, 8) and row.dtype == torch.float32
    assert row[0, 0].tolist() == [0.0] * 4 + [1.0] * 4
    angles = [17 * 10000 ** (-j / 4) for j in range(4)]
    torch.testing.assert_close(row[0, 1], torch.tensor([*map(math.sin, angles), *map(math.cos, angles)]))
