from __future__ import annotations

import numpy as np
import torch

from spann3r_ros.models.transfer import to_device, to_host


def test_tensors_become_arrays_of_their_shapes_in_their_order() -> None:
    tensors = [torch.randn(2, 3), torch.randn(4), torch.randn(2, 2, 2).to(torch.bfloat16), torch.randn(3, 2).T]
    arrays = to_host(*tensors)
    assert [array.shape for array in arrays] == [(2, 3), (4,), (2, 2, 2), (2, 3)]
    assert all(array.dtype == np.float32 for array in arrays)
    assert all(np.array_equal(array, tensor.float().numpy()) for array, tensor in zip(arrays, tensors, strict=True))


def test_on_the_cpu_nothing_is_copied() -> None:
    pixels = torch.randn(1, 3, 2, 2)
    assert to_device(pixels, torch.device("cpu")).data_ptr() == pixels.data_ptr()
    assert to_host(pixels)[0].ctypes.data == pixels.data_ptr()
