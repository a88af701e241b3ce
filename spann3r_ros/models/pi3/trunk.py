"""What pi^3 and Pi3X have in common: everything but the heads for points and confidences (Wang et al. 2025)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import torch
from torch import Tensor, nn

from spann3r_ros.blocks.dinov2 import IMAGENET_MEAN, IMAGENET_STD, Dinov2
from spann3r_ros.blocks.rope import RotaryTable, grid_positions, table_at
from spann3r_ros.blocks.transformer import EncoderBlock
from spann3r_ros.models.pi3.architecture import Pi3Architecture
from spann3r_ros.models.pi3.camera_head import CameraPoseHead, poses_from

Grid = tuple[int, int]

Stages: TypeAlias = Mapping[str, Callable[..., tuple[Tensor, ...]]]
"""``Pi3Trunk.stages``, or what gives the same."""


@dataclass(frozen=True, eq=False)
class ViewSet:
    """What the network says of N views of each of B scenes, in a frame and a unit of the call's own.

    Attributes:
        local_points: (B, N, H, W, 3) float32, each in the optical axes of its own camera.
        logits: (B, N, H, W) float32; the sigmoid of it is the confidence.
        scene_from_camera: (B, N, 4, 4) float64, rigid.
        metric: (B,) float32, the factor that is in points and poses already and made their unit the meter, or None.
    """

    local_points: Tensor
    logits: Tensor
    scene_from_camera: Tensor
    metric: Tensor | None = None

    def points_in(self, target_from_camera: Tensor) -> Tensor:
        """Points (B, N, H, W, 3) moved by poses (B, N, 4, 4)."""
        pose = target_from_camera.to(self.local_points.dtype)
        points = self.local_points.flatten(2, 3) @ pose[..., :3, :3].mT + pose[..., None, :3, 3]
        return points.view(self.local_points.shape)


def local_points(slopes: Tensor, log_depth: Tensor) -> Tensor:
    """Slopes x/z, y/z (V, 2, H, W) and logarithms of z (V, 1, H, W) to points (V, H, W, 3) in optical axes."""
    depth = log_depth.exp()
    return torch.cat([slopes * depth, depth], dim=1).permute(0, 2, 3, 1).contiguous()


class HeadDecoder(nn.Module):
    """A transformer that reads the decoder for one head, view by view (section 4.1)."""

    def __init__(self, architecture: Pi3Architecture, out: int) -> None:
        super().__init__()
        a = architecture
        self.head_dim = a.head_width // a.head_heads
        self.projects = nn.Linear(2 * a.encoder.width, a.head_width)
        self.blocks = nn.ModuleList(EncoderBlock(a.head_width, a.head_heads, a.mlp_ratio) for _ in range(a.head_depth))
        self.linear_out = nn.Linear(a.head_width, out)

    def forward(self, tokens: Tensor, table: RotaryTable) -> Tensor:
        """Decoder tokens (V, T, 2 D) of views to tokens (V, T, out)."""
        tokens = self.projects(tokens)
        for block in self.blocks:
            tokens = block(tokens, table)
        out: Tensor = self.linear_out(tokens)
        return out


class Pi3Trunk(nn.Module):
    """Images to decoder tokens and poses. Attribute names are the published tensors' names.

    No view is special: other orders of the views give the same answers in that order.

    Attributes:
        pauses: numbers of the decoder's blocks, counted from 0, after which something may happen to the tokens.
    """

    image_mean: Tensor
    image_std: Tensor

    def __init__(self, architecture: Pi3Architecture) -> None:
        super().__init__()
        self.sizes = a = architecture
        width = a.encoder.width
        self.register_buffer("image_mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("image_std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))
        self.encoder = Dinov2(a.encoder)
        self.register_token = nn.Parameter(0.02 * torch.randn(1, 1, a.registers, width))
        self.decoder = nn.ModuleList(
            EncoderBlock(width, a.decoder_heads, a.mlp_ratio, head_norm=True, layer_scale=True)
            for _ in range(a.decoder_depth)
        )
        self.point_decoder, self.conf_decoder = HeadDecoder(a, a.head_out), HeadDecoder(a, a.head_out)
        self.camera_decoder = HeadDecoder(a, a.camera_width)
        self.camera_head = CameraPoseHead(a.camera_width)
        self.pauses: tuple[int, ...] = ()
        self._tables: dict[tuple[Grid, int, torch.device], RotaryTable] = {}

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the trunk; heads are float32."""
        return self.register_token.dtype

    def set_precision(self, dtype: torch.dtype) -> None:
        """Convert the trunk; the heads and what images are normalized by stay in float32."""
        for name, module in self.named_children():
            module.to(torch.float32 if self.is_head(name) else dtype)
        for name, parameter in self.named_parameters(recurse=False):
            parameter.data = parameter.data.to(torch.float32 if self.is_head(name) else dtype)

    def is_head(self, name: str) -> bool:
        """Whether a part stays in float32 in every precision."""
        return name.endswith("_head")

    def largest_maps(self, _pixels: int, _frames: int) -> dict[str, int]:
        """Arguments of ``window_bytes``: channels and pixels of the largest maps of the dense heads."""
        return {}

    def grid(self, images: Tensor) -> Grid:
        """Rows and columns of the patches of images (..., H, W)."""
        patch = self.sizes.patch_size
        return images.shape[-2] // patch, images.shape[-1] // patch

    def rotary_table(self, grid: Grid, head_dim: int) -> RotaryTable:
        """Places of the tokens of a view: registers at 0, patches from 1 on; made once per size and device."""
        key = (grid, head_dim, self.register_token.device)
        if key not in self._tables:
            # Made outside inference mode, so that a training step can use it too.
            with torch.inference_mode(False):
                places = grid_positions(grid, offset=1, specials=self.sizes.registers, device=key[-1])
                self._tables[key] = table_at(places, head_dim, self.sizes.rope_base)
        return self._tables[key]

    def stages(self) -> dict[str, Callable[..., tuple[Tensor, ...]]]:
        """The functions of tensors that the network consists of, by name; scenes or views are their batch.

        The decoder runs in pieces from pause to pause, so that an export holds it once, whatever happens in between.
        """
        return {"encode": self.encoded, "decode": self.decoded, "heads": self.heads}

    def encoded(self, images: Tensor) -> tuple[Tensor]:
        """Images (V, 3, H, W) in [0, 1] to tokens (V, P, D), each view by itself (section 2)."""
        tokens: Tensor = self.encoder((images - self.image_mean) / self.image_std)
        return (tokens[:, self.sizes.encoder.specials :],)

    def decoded(self, tokens: Tensor, begin: int, end: int, grid: Grid) -> tuple[Tensor, Tensor]:
        """Tokens (B, N, T, D) before the last one of a range of the decoder's blocks, and those after it."""
        head_dim = self.sizes.encoder.width // self.sizes.decoder_heads
        within = self.rotary_table(grid, head_dim)
        across = within.repeated(tokens.shape[1])
        for number in range(begin, end):
            earlier, block = tokens, self.decoder[number]
            if number % 2 == 0:
                tokens = block(tokens.flatten(0, 1), within).view_as(tokens)
            else:
                tokens = block(tokens.flatten(1, 2), across).view_as(tokens)
        return earlier, tokens

    def heads(self, decoded: Tensor, grid: Grid) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Decoder tokens (V, T, 2 D) of views to what is said of each by itself, float32.

        Returns:
            Local points (V, H, W, 3), logits (V, H, W), and the numbers (V, 3) and (V, 9) of ``CameraPoseHead``.
        """
        raise NotImplementedError

    def encode(self, images: Tensor, stages: Stages) -> Tensor:
        """Images (B, N, 3, H, W) in [0, 1] to tokens (B, N, P, D)."""
        [tokens] = stages["encode"](images.flatten(0, 1))
        return tokens.reshape(*images.shape[:2], *tokens.shape[1:])

    def decode(
        self, features: Tensor, grid: Grid, stages: Stages, after: Callable[[int, Tensor], Tensor] | None = None
    ) -> Tensor:
        """Tokens (B, N, P, D) to what the heads read (B, N, T, 2 D): the last two blocks side by side (section 3).

        Args:
            features: of the encoder.
            grid: rows and columns of the patches.
            stages: that do the work.
            after: what tokens (B, N, T, D) become after the block of a number, one of ``pauses``.
        """
        registers = self.register_token.to(features.dtype).expand(*features.shape[:2], -1, -1)
        tokens = torch.cat([registers, features], dim=2)
        for begin, end in pairwise(sorted({0, *(number + 1 for number in self.pauses), len(self.decoder)})):
            earlier, tokens = stages["decode"](tokens, begin=begin, end=end, grid=grid)
            if after is not None and end - 1 in self.pauses:
                tokens = after(end - 1, tokens)
        return torch.cat([earlier, tokens], dim=-1)

    def answered(self, decoded: Tensor, grid: Grid, stages: Stages) -> ViewSet:
        """What the heads make of the views (B, N, T, 2 D); poses are no part of a stage, as ONNX has no SVD."""
        local, logits, *camera = stages["heads"](decoded.flatten(0, 1), grid=grid)
        views, size = decoded.shape[:2], logits.shape[1:]
        return ViewSet(local.view(*views, *size, 3), logits.view(*views, *size), poses_from(*camera).view(*views, 4, 4))

    def head_tokens(self, decoder: nn.Module, decoded: Tensor, grid: Grid) -> Tensor:
        """What a head decoder makes of views (V, T, 2 D): patch tokens (V, P, out), float32."""
        table = self.rotary_table(grid, self.sizes.head_width // self.sizes.head_heads)
        tokens: Tensor = decoder(decoded, table)
        return tokens[:, self.sizes.registers :].float()

    def camera(self, decoded: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
        """The numbers (V, 3) and (V, 9) of ``CameraPoseHead`` about views (V, T, 2 D)."""
        tokens = self.head_tokens(self.camera_decoder, decoded, grid)
        with torch.autocast(tokens.device.type, enabled=False):
            translation, nine = self.camera_head(tokens)
        return translation, nine
