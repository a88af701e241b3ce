import pytest
import torch

from spann3r_ros.alignment.transforms import signed_exp, signed_log


def test_signed_exp_undoes_signed_log() -> None:
    x = torch.tensor([-40.0, -1.0, -1e-6, 0.0, 1e-6, 1.0, 40.0], dtype=torch.float64)
    torch.testing.assert_close(signed_exp(signed_log(x)), x)


@pytest.mark.parametrize("value", [-2.0, -1e-12, 0.0, 1e-12, 2.0])
def test_no_value_is_stuck(value: float) -> None:
    # By the formula sign(x) (exp|x| - 1), automatic differentiation says 0 at 0: rounding decides what may move.
    x = torch.tensor([value], requires_grad=True)
    signed_exp(x).sum().backward()
    torch.testing.assert_close(x.grad, x.detach().abs().exp())


def test_large_values_leave_the_gradients_of_others_finite() -> None:
    x = torch.tensor([-80.0, 80.0, 0.0], requires_grad=True)
    signed_exp(x).sum().backward()
    assert x.grad is not None and torch.isfinite(x.grad).all()
