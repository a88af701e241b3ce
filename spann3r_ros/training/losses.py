"""What training minimizes: the paper's confidence-weighted pointmap regression, and how the scales are compared.

Tensors are batched sequences: B sequences of T frames, maps of H x W pixels. Head 1 answers for frames 0..T-2
(``left``), head 2 for frames 1..T-1 (``right``). All points are in the optical frame of the first camera of the
sequence.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spann3r_ros.errors import ConfigError
from spann3r_ros.training.processes import Processes

ALONE = Processes()

NORMALIZERS = ("sequence", "upstream", "metric")


@dataclass(frozen=True)
class Answers:
    """Everything the two heads said about T frames.

    Attributes:
        left: (B, T-1, H, W, 3) head 1, frames 0..T-2.
        left_confidence: (B, T-1, H, W), at least 1.
        right: (B, T-1, H, W, 3) head 2, frames 1..T-1.
        right_confidence: (B, T-1, H, W), at least 1.
    """

    left: Tensor
    left_confidence: Tensor
    right: Tensor
    right_confidence: Tensor


@dataclass(frozen=True)
class Truth:
    """What the T frames really show.

    Attributes:
        points: (B, T, H, W, 3) in the first camera of the sequence, meters.
        valid: (B, T, H, W) bool; the other pixels take no part.
    """

    points: Tensor
    valid: Tensor


def mean_distance(points: Tensor, valid: Tensor, share_count: bool = False, processes: Processes = ALONE) -> Tensor:
    """(B,) mean distance from the origin of the valid points of (B, T, H, W, 3).

    With ``share_count`` the sum of each sequence is divided by the number of valid pixels of the whole batch: the
    published training code does so, which makes the scale of a sequence B times too small.
    """
    total = (points.norm(dim=-1) * valid).flatten(1).sum(1)
    count = valid.flatten(1).sum(1)
    if share_count:
        count = processes.mean(count.sum()) * processes.count
    return torch.clamp_min(total / (count + 1e-8), 1e-8)


def scales(answers: Answers, truth: Truth, normalizer: str, processes: Processes = ALONE) -> tuple[Tensor, Tensor]:
    """(B,) scale of the prediction and (B,) of the truth, by which each is divided before they are compared.

    ``sequence``: mean distance of each sequence. ``upstream``: the same with the published code's shared pixel count.
    ``metric``: the true scale for both, so that the network has to answer in meters.
    """
    if normalizer not in NORMALIZERS:
        raise ConfigError("normalizer", got=normalizer, expected=" | ".join(NORMALIZERS))
    share = normalizer == "upstream"
    true = mean_distance(truth.points, truth.valid, share, processes)
    if normalizer == "metric":
        return true, true
    final = torch.cat([answers.left, answers.right[:, -1:]], 1)
    return mean_distance(final, truth.valid, share, processes), true


def scale_penalty(predicted: Tensor, true: Tensor, normalizer: str, processes: Processes = ALONE) -> Tensor:
    """Scalar: how much too large the predictions are, which regression after division cannot see.

    Over the sequences whose predicted scale exceeds the true one, the mean difference; the published code averages
    over all pairs of sequences of the batch instead (``upstream``).
    """
    if normalizer == "metric":
        return predicted.new_zeros(())
    large = predicted > true
    count = processes.mean(large.sum())
    others = processes.gathered(true) if normalizer == "upstream" else true
    if not bool(large.any()):
        return predicted.new_zeros(())
    if normalizer == "upstream":
        return (predicted[large][:, None] - others[None, :]).abs().sum() / (count * len(others))
    return (predicted[large] - true[large]).sum() / count


def _of_maps(values: Tensor, valid: Tensor, processes: Processes) -> Tensor:
    """(T-1,) mean over the valid pixels of each map of the batch (of all processes, see ``processes``)."""
    dims = (0, 2, 3)
    # Where no process has a valid pixel, the sum is zero whatever divides it.
    return (values * valid).sum(dims) / processes.mean(valid.sum(dims)).clamp_min(1 / processes.count)


@dataclass(frozen=True)
class LossTerms:
    """The loss and what it is made of.

    Attributes:
        total: scalar to differentiate.
        confidence: the paper's confidence-weighted regression.
        penalty: of predictions that are too large.
        left, right: (T-1,) mean error of each head over the true scale, frame by frame, for the log; detached.
    """

    total: Tensor
    confidence: Tensor
    penalty: Tensor
    left: Tensor
    right: Tensor


def no_loss(device: torch.device) -> LossTerms:
    """The loss of single images, of which no head is asked anything."""
    zero = torch.zeros((), device=device)
    return LossTerms(zero, zero, zero, zero.new_zeros(0), zero.new_zeros(0))


def pointmap_loss(
    answers: Answers,
    truth: Truth,
    *,
    alpha: float = 0.4,
    normalizer: str = "sequence",
    blend: float = 1.0,
    processes: Processes = ALONE,
) -> LossTerms:
    """The training loss of one batch of sequences.

    Per map the mean of ``C * l - alpha * log C`` over valid pixels, where ``l`` is the distance between prediction and
    truth, each divided by its scale (DUSt3R eq. 4, Spann3R section 3.4), averaged over the maps and times two, plus
    the scale penalty.

    Args:
        answers: what the heads said.
        truth: what is true.
        alpha: reward for confidence.
        normalizer: see ``scales``.
        blend: 1 is the paper's loss. 0 is plain regression, with confidence learned beside it from detached errors;
            small networks hardly start to learn from the paper's loss. Between, a weighted sum.
        processes: which have the other sequences of the batch; the mean of their losses is that of the batch.
    """
    predicted_scale, true_scale = scales(answers, truth, normalizer, processes)
    target = truth.points / true_scale[:, None, None, None, None]
    weighted, plain, heads = [], [], []
    for points, confidence, frames in (
        (answers.left, answers.left_confidence, slice(0, -1)),
        (answers.right, answers.right_confidence, slice(1, None)),
    ):
        valid = truth.valid[:, frames]
        error = (points / predicted_scale[:, None, None, None, None] - target[:, frames]).norm(dim=-1)
        reward = alpha * confidence.log()
        weighted.append(_of_maps(confidence * error - reward, valid, processes).mean())
        if blend < 1:
            beside = _of_maps(confidence * error.detach() - reward, valid, processes).mean()
            plain.append(_of_maps(error, valid, processes).mean() + 0.1 * beside)
        heads.append(_of_maps(error.detach(), valid, processes))
    confidence_loss = weighted[0] + weighted[1]
    penalty = scale_penalty(predicted_scale, true_scale, normalizer, processes)
    total = confidence_loss + penalty
    if blend < 1:
        total = blend * confidence_loss + (1 - blend) * (plain[0] + plain[1]) + penalty
    return LossTerms(total, confidence_loss, penalty, heads[0], heads[1])
