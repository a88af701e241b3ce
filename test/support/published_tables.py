"""Names and shapes of tensors as published files of DUSt3R's relatives have them, part by part."""

from __future__ import annotations

Table = dict[str, tuple[int, ...]]


def linear(name: str, out: int, into: int) -> Table:
    """Weight and bias of a linear layer."""
    return {f"{name}.weight": (out, into), f"{name}.bias": (out,)}


def convolution(name: str, out: int, into: int, kernel: int) -> Table:
    """Weight and bias of a square convolution."""
    return {f"{name}.weight": (out, into, kernel, kernel), f"{name}.bias": (out,)}


def norm(name: str, width: int) -> Table:
    """A layer norm."""
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def encoder_block(name: str, width: int) -> Table:
    """Self-attention and an MLP of ratio 4."""
    return {
        **norm(f"{name}.norm1", width),
        **norm(f"{name}.norm2", width),
        **linear(f"{name}.attn.qkv", 3 * width, width),
        **linear(f"{name}.attn.proj", width, width),
        **linear(f"{name}.mlp.fc1", 4 * width, width),
        **linear(f"{name}.mlp.fc2", width, 4 * width),
    }


def decoder_block(name: str, width: int) -> Table:
    """With cross-attention."""
    table = {**encoder_block(name, width), **norm(f"{name}.norm3", width), **norm(f"{name}.norm_y", width)}
    for part in ("projq", "projk", "projv", "proj"):
        table |= linear(f"{name}.cross_attn.{part}", width, width)
    return table


def dpt(name: str, first: int, width: int, channels: int = 4) -> Table:
    """The official DPT without what inference does not use: ``first`` and ``width`` are widths of the tokens."""
    levels = (96, 192, 384, 768)
    table: Table = {f"{name}.scratch.layer_rn.{i}.weight": (256, level, 3, 3) for i, level in enumerate(levels)}
    for n in (1, 2, 3, 4):
        table |= convolution(f"{name}.scratch.refinenet{n}.out_conv", 256, 256, 1)
        for unit in (1, 2) if n < 4 else (2,):
            for conv in (1, 2):
                table |= convolution(f"{name}.scratch.refinenet{n}.resConfUnit{unit}.conv{conv}", 256, 256, 3)
    return {
        **table,
        **convolution(f"{name}.act_postprocess.0.0", 96, first, 1),
        **convolution(f"{name}.act_postprocess.0.1", 96, 96, 4),
        **convolution(f"{name}.act_postprocess.1.0", 192, width, 1),
        **convolution(f"{name}.act_postprocess.1.1", 192, 192, 2),
        **convolution(f"{name}.act_postprocess.2.0", 384, width, 1),
        **convolution(f"{name}.act_postprocess.3.0", 768, width, 1),
        **convolution(f"{name}.act_postprocess.3.1", 768, 768, 3),
        **convolution(f"{name}.head.0", 128, 256, 3),
        **convolution(f"{name}.head.2", 128, 128, 3),
        **convolution(f"{name}.head.4", channels, 128, 1),
    }
