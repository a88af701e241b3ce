"""The dense prediction head (DPT, Ranftl et al. 2021) in the form that DUSt3R uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn
from torch.nn import functional


def double(x: Tensor) -> Tensor:
    """Twice the size, bilinear with aligned corners."""
    return functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=True)


def enlarged(x: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, C, h, w) to (B, C, *size), bilinear with aligned corners."""
    return functional.interpolate(x, size=size, mode="bilinear", align_corners=True)


class ResidualConvUnit(nn.Module):
    """Two pre-activated 3x3 convolutions with a residual.

    Args:
        width: channels.
        rectified: whether the residual is the rectified input, as in networks whose code took the ReLU in place.
    """

    def __init__(self, width: int, rectified: bool = False) -> None:
        super().__init__()
        self.rectified = rectified
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, h, w) to the same shape."""
        active = functional.relu(x)
        return (active if self.rectified else x) + self.conv2(functional.relu(self.conv1(active)))


class FusionBlock(nn.Module):
    """Adds a skip connection to the coarser path and enlarges it.

    The 1x1 convolution stands before the interpolation, not after: the two commute (interpolation weights sum to one)
    and it costs a quarter there.
    """

    def __init__(self, width: int, has_skip: bool, rectified: bool = False) -> None:
        super().__init__()
        if has_skip:
            self.resConfUnit1 = ResidualConvUnit(width, rectified)
        self.resConfUnit2 = ResidualConvUnit(width, rectified)
        self.out_conv = nn.Conv2d(width, width, 1)

    def forward(self, path: Tensor, skip: Tensor | None = None, size: tuple[int, int] | None = None) -> Tensor:
        """(B, width, h, w), twice, to (B, width, 2h, 2w), or to (B, width, *size)."""
        if skip is not None:
            path = path + self.resConfUnit1(skip)
        path = self.out_conv(self.resConfUnit2(path))
        return double(path) if size is None else enlarged(path, size)


class Scratch(nn.Module):
    """The decoder of the pyramid; the name is the published tensors'."""

    def __init__(self, widths: Sequence[int], width: int) -> None:
        super().__init__()
        self.layer_rn = nn.ModuleList(nn.Conv2d(level, width, 3, padding=1, bias=False) for level in widths)
        self.refinenet1 = FusionBlock(width, has_skip=True)
        self.refinenet2 = FusionBlock(width, has_skip=True)
        self.refinenet3 = FusionBlock(width, has_skip=True)
        self.refinenet4 = FusionBlock(width, has_skip=False)


class Pyramid(nn.Module):
    """Four decoder layers as a feature pyramid, fused from coarse to fine.

    Args:
        token_widths: width of each of the four hooked layers.
        hooks: their numbers; 0 is the decoder's input.
        widths: channels of the four pyramid levels.
        width, last_width: channels of the fusion and of the output stack.
        channels: raw outputs per pixel.
    """

    def __init__(
        self,
        token_widths: Sequence[int],
        hooks: Sequence[int],
        widths: Sequence[int],
        width: int,
        last_width: int,
        channels: int = 4,
    ) -> None:
        super().__init__()
        self.hooks = tuple(hooks)
        first, second, third, fourth = (nn.Conv2d(t, w, 1) for t, w in zip(token_widths, widths, strict=True))
        self.act_postprocess = nn.ModuleList(
            [
                nn.Sequential(first, nn.ConvTranspose2d(widths[0], widths[0], 4, stride=4)),
                nn.Sequential(second, nn.ConvTranspose2d(widths[1], widths[1], 2, stride=2)),
                nn.Sequential(third),
                nn.Sequential(fourth, nn.Conv2d(widths[3], widths[3], 3, stride=2, padding=1)),
            ]
        )
        self.scratch = Scratch(widths, width)
        self.head = nn.Sequential(
            nn.Conv2d(width, last_width, 3, padding=1),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
            nn.Conv2d(last_width, last_width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(last_width, channels, 1),
        )

    def forward(self, layers: Mapping[int, Tensor], grid: tuple[int, int]) -> Tensor:
        """Decoder layers (B, P, width) by number to raw outputs (B, channels, 16 rows, 16 columns)."""
        rows, columns = grid
        levels = [
            rn(post(layers[hook].transpose(1, 2).unflatten(2, grid)))
            for hook, post, rn in zip(self.hooks, self.act_postprocess, self.scratch.layer_rn, strict=True)
        ]
        # On an odd grid the coarsest level is rounded up; its doubled size is cut back.
        path = self.scratch.refinenet4(levels[3])[..., :rows, :columns]
        path = self.scratch.refinenet3(path, levels[2])
        path = self.scratch.refinenet2(path, levels[1])
        path = self.scratch.refinenet1(path, levels[0])
        return self.head(path)


class DptHead(nn.Module):
    """A pyramid under the name that its published tensors have."""

    def __init__(self, pyramid: Pyramid) -> None:
        super().__init__()
        self.dpt = pyramid

    def forward(self, layers: Mapping[int, Tensor], grid: tuple[int, int]) -> Tensor:
        """Decoder layers by number to raw outputs (B, channels, H, W)."""
        return self.dpt(layers, grid)
