"""The network of CUT3R (Wang et al. 2025): images and a state that is rewritten with each of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spann3r_ros.blocks.attention import HeadTensors, attend
from spann3r_ros.blocks.patch_embed import PatchEmbed
from spann3r_ros.blocks.rope import RotaryTable, grid_positions, rotate, table_at
from spann3r_ros.blocks.transformer import NORM_EPS, DecoderBlock, EncoderBlock
from spann3r_ros.models.cut3r.architecture import RAY_HEADS, RAY_RATIO, RETRIEVER_DEPTH, Cut3rArchitecture
from spann3r_ros.models.cut3r.heads import Cut3rHeads
from spann3r_ros.models.dust3r.network import Grid, Layers

POSE_POSITION = -1
"""Row and column of the pose token, which stands before the patches."""


STATE_TENSORS = ("register_tokens.", "decoder_embed_state.", "pose_retriever.mem")
"""Beginnings of the names of the tensors that make the state and the pose memory before the first frame."""


class PoseRetriever(nn.Module):
    """A memory of the poses that went with what images looked like as a whole; its tokens have no positions.

    It is a sum that grows with every frame, and is kept in float32: rounded, it would stop growing.
    """

    def __init__(self, encoder_width: int, width: int, heads: int, rows: int, mlp_ratio: float) -> None:
        super().__init__()
        self.mem = nn.Parameter(0.02 * torch.randn(1, rows, 2 * width))
        self.masked_token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.proj_q = nn.Linear(encoder_width, width)
        self.write_blocks, self.read_blocks = (
            nn.ModuleList(DecoderBlock(2 * width, heads, mlp_ratio) for _ in range(RETRIEVER_DEPTH)) for _ in range(2)
        )

    def read(self, gist: Tensor, memory: Tensor) -> Tensor:
        """The pose token (B, 1, width) that the memory (B, rows, 2 width) expects for an image's gist (B, 1, E)."""
        tokens = torch.cat([self.proj_q(gist), self.masked_token.expand(len(gist), -1, -1)], dim=-1)
        for block in self.read_blocks:
            tokens = block(tokens, memory, None, None)
        return tokens.chunk(2, dim=-1)[1]

    def write(self, memory: Tensor, gist: Tensor, token: Tensor) -> Tensor:
        """The memory after an image with this gist turned out to have this pose token (B, 1, width)."""
        known = torch.cat([self.proj_q(gist), token], dim=-1)
        for block in self.write_blocks:
            memory = block(memory, known, None, None)
        return memory


@dataclass(frozen=True, eq=False)
class Interaction:
    """What comes of one frame and the state before it.

    Attributes:
        gist: (B, 1, E) float32 mean of the frame's feature.
        pose_in: (B, 1, D) the pose token before the decoders.
        state: (B, N, D) rewritten.
        poses: (B, rows, 2 D) float32, the pose memory rewritten.
        layers: layers of the image's decoder that the heads read, without the pose token, float32; 0 is the feature.
        pose_out: (B, 1, D) float32 pose token after the decoders.
        grid: rows and columns of the frame's patches.
    """

    gist: Tensor
    pose_in: Tensor
    state: Tensor
    poses: Tensor
    layers: Layers
    pose_out: Tensor
    grid: Grid


class Cut3rNetwork(nn.Module):
    """One frame and a state in, what is seen and a new state out. Attribute names are the published tensors' names."""

    def __init__(self, architecture: Cut3rArchitecture) -> None:
        super().__init__()
        self.architecture = a = architecture
        width, wide = a.decoder_width, a.encoder_width
        self.patch_embed = PatchEmbed(a.patch_size, wide)
        self.enc_blocks = nn.ModuleList(
            EncoderBlock(wide, a.encoder_heads, a.mlp_ratio) for _ in range(a.encoder_depth)
        )
        self.enc_norm = nn.LayerNorm(wide, eps=NORM_EPS)
        self.patch_embed_ray_map = PatchEmbed(a.patch_size, wide, channels=6)
        self.enc_blocks_ray_map = nn.ModuleList(EncoderBlock(wide, RAY_HEADS, RAY_RATIO) for _ in range(a.ray_depth))
        self.enc_norm_ray_map = nn.LayerNorm(wide, eps=NORM_EPS)
        self.register_tokens = nn.Embedding(a.state_tokens, wide)
        self.decoder_embed_state = nn.Linear(wide, width)
        self.decoder_embed = nn.Linear(wide, width)
        self.pose_token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.dec_blocks, self.dec_blocks_state = (
            nn.ModuleList(DecoderBlock(width, heads, a.mlp_ratio) for _ in range(a.decoder_depth))
            for heads in (a.decoder_heads, a.state_heads)
        )
        self.dec_norm, self.dec_norm_state = (nn.LayerNorm(width, eps=NORM_EPS) for _ in range(2))
        self.pose_retriever = PoseRetriever(wide, width, a.decoder_heads, a.pose_rows, a.mlp_ratio)
        self.downstream_head = Cut3rHeads(a)
        self._tables: dict[tuple[Grid, int, int, torch.device], RotaryTable] = {}

    @property
    def dtype(self) -> torch.dtype:
        """Precision of encoder and decoders; heads and pose memory stay in float32."""
        return self.enc_norm.weight.dtype

    def set_precision(self, dtype: torch.dtype) -> None:
        """Convert encoder and decoders; heads and pose memory stay in float32."""
        for name, module in self.named_children():
            module.to(torch.float32 if name in ("downstream_head", "pose_retriever") else dtype)
        self.pose_token.data = self.pose_token.data.to(dtype)

    def grid(self, images: Tensor) -> Grid:
        """Rows and columns of the tokens of images (B, channels, H, W)."""
        patch = self.architecture.patch_size
        return int(images.shape[-2]) // patch, int(images.shape[-1]) // patch

    def encode(self, images: Tensor, rounded: bool = False) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] to features (B, P, E).

        Args:
            images: H and W multiples of the patch.
            rounded: round queries and keys to float16 before and after they are rotated, as the published code does.
        """
        a = self.architecture
        table = self._table(self.grid(images), 0, a.encoder_width // a.encoder_heads, images.device)
        tokens = self.patch_embed(images)
        for block in self.enc_blocks:
            tokens = _half_rotated(block, tokens, table) if rounded else block(tokens, table)
        features: Tensor = self.enc_norm(tokens)
        return features

    def encode_rays(self, rays: Tensor) -> Tensor:
        """Ray maps (B, 6, H, W), origin and direction in the world's frame, to features (B, P, E)."""
        table = self._table(self.grid(rays), 0, self.architecture.encoder_width // RAY_HEADS, rays.device)
        tokens = self.patch_embed_ray_map(rays)
        for block in self.enc_blocks_ray_map:
            tokens = block(tokens, table)
        features: Tensor = self.enc_norm_ray_map(tokens)
        return features

    def initial_state(self) -> Tensor:
        """The state (1, N, D) before the first frame."""
        state: Tensor = self.decoder_embed_state(self.register_tokens.weight)
        return state[None]

    @property
    def layer_numbers(self) -> tuple[int, ...]:
        """Of the layers of the image's decoder that the heads read, 0 first."""
        a = self.architecture
        return tuple(sorted({0, *(a.hooks if a.head == "dpt" else ()), a.decoder_depth}))

    def recall(self, features: Tensor, poses: Tensor) -> Tensor:
        """The pose token (B, 1, D) that the pose memory (B, rows, 2 D) expects for a frame's features (B, P, E)."""
        return self.pose_retriever.read(_gist(features), poses).to(self.dtype)

    def interact(self, features: Tensor, grid: Grid, pose_in: Tensor, state: Tensor, poses: Tensor) -> Interaction:
        """Let a frame and the state look at each other.

        Args:
            features: (B, P, E) of the frame.
            grid: rows and columns of its patches.
            pose_in: (B, 1, D), of ``recall``; ``pose_token`` where no frame came before.
            state: (B, N, D).
            poses: (B, rows, 2 D), the pose memory.
        """
        retriever, gist = self.pose_retriever, _gist(features)
        state, layers = self._decode(features, pose_in, state, grid)
        tokens = {number: layer.float() for number, layer in layers.items()}
        pose_out = tokens[max(tokens)][:, :1]
        seen = {number: layer if number == 0 else layer[:, 1:] for number, layer in tokens.items()}
        return Interaction(gist, pose_in, state, retriever.write(poses, gist, pose_out), seen, pose_out, grid)

    def _decode(self, features: Tensor, pose: Tensor, state: Tensor, grid: Grid) -> tuple[Tensor, Layers]:
        """The new state, and the image's layers with the pose token first; each reads the other's previous layer."""
        a, device = self.architecture, features.device
        # Each decoder has heads of its own size, and rotates the tokens of both by it.
        narrow, wide = a.decoder_width // a.state_heads, a.decoder_width // a.decoder_heads
        image_tables = [self._table(grid, 1, head_dim, device) for head_dim in (wide, narrow)]
        state_tables = [self._state_table(head_dim, device) for head_dim in (wide, narrow)]
        layers, image = {0: features}, torch.cat([pose, self.decoder_embed(features)], dim=1)
        wanted = a.hooks if a.head == "dpt" else ()
        blocks = zip(self.dec_blocks, self.dec_blocks_state, strict=True)
        for number, (of_image, of_state) in enumerate(blocks, start=1):
            image, state = (
                of_image(image, state, image_tables[0], state_tables[0]),
                of_state(state, image, state_tables[1], image_tables[1]),
            )
            if number in wanted:
                layers[number] = image
        layers[a.decoder_depth] = self.dec_norm(image)
        return self.dec_norm_state(state), layers

    def final_table(self, grid: Grid, device: torch.device) -> RotaryTable:
        """Of the patches alone, for the blocks before the world's head."""
        a = self.architecture
        return self._table(grid, 0, a.decoder_width // a.decoder_heads, device)

    def state_places(self) -> Tensor:
        """Rows and columns (N, 2) int64 that the state's tokens stand at."""
        numbers = torch.arange(self.architecture.state_tokens)
        if self.architecture.state_positions == "1d":
            return torch.stack([numbers, numbers], dim=-1)
        columns = self.architecture.state_columns
        return torch.stack([numbers // columns, numbers % columns], dim=-1)

    def _state_table(self, head_dim: int, device: torch.device) -> RotaryTable | None:
        """Of the state's tokens, made once per size of a head and device; None where they have no places."""
        if self.architecture.state_positions == "none":
            return None
        key = ((0, 0), 0, head_dim, device)
        if key not in self._tables:
            self._tables[key] = table_at(self.state_places().to(device), head_dim, self.architecture.rope_base)
        return self._tables[key]

    def _table(self, grid: Grid, specials: int, head_dim: int, device: torch.device) -> RotaryTable:
        """Of the patches of a grid after as many pose tokens, made once per size and device."""
        key = (grid, specials, head_dim, device)
        if key not in self._tables:
            places = grid_positions(grid, specials=specials, special_position=POSE_POSITION, device=device)
            self._tables[key] = table_at(places, head_dim, self.architecture.rope_base)
        return self._tables[key]


def _gist(features: Tensor) -> Tensor:
    return features.float().mean(dim=1, keepdim=True)


def _half_rotated(block: nn.Module, tokens: Tensor, table: RotaryTable) -> Tensor:
    """A block of the encoder whose queries and keys are float16 before and after their rotation."""
    assert isinstance(block, EncoderBlock)

    def attending(heads: HeadTensors) -> Tensor:
        query, key = (rotate(part.half(), table).to(part.dtype) for part in (heads.query, heads.key))
        return attend(query, key, heads.value)

    rotated: Tensor = block(tokens, None, by=attending)
    return rotated
