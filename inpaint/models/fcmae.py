"""Fully convolutional masked autoencoder: ConvNeXt V2's pre-training, and a prior made of convolutions.

Shapes: ``N`` tokens in a square grid ``(h, w)``, ``E`` decoder width, ``P = patch_size ** 2 * 3`` values of a
patch. A decoder maps the projected latent ``(B, E, h, w)``, mask tokens at hidden places, to features with
``rate`` positions for one of the latent, each way; ``stages`` are the encoder's outputs, the finest first.

Source:
    Woo et al., *ConvNeXt V2: Co-designing and Scaling ConvNets with Masked Autoencoders* (CVPR 2023). As a
    prior (features of the decoder, attention from their similarity) it is ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inpaint.layers import convnext
from inpaint.layers.convnext import GlobalResponseNorm, MakeGrn
from inpaint.layers.transfer import cosine_attention
from inpaint.layers.transformer import TransformerBlock
from inpaint.mask import check_pair
from inpaint.models.patch_autoencoder import PatchAutoencoder, PriorFeatures
from inpaint.strict import formerly
from inpaint.tokens import patchify, sincos_positions, token_masks, unpatchify

Decoder = Literal["convnext", "unet", "transformer"]


@dataclass(frozen=True)
class FcmaePreset:
    """Hyper-parameters of a fully convolutional masked autoencoder."""

    depths: tuple[int, ...]
    """Blocks of each stage: four stages for patches of 32 pixels, as published, three for patches of 16."""
    widths: tuple[int, ...]
    image_size: int = 224
    decoder: Decoder = "convnext"
    """As the published ablation compares them: one ConvNeXt block does as well as the others for less."""
    decoder_width: int = 512
    decoder_depth: int = 1
    """Blocks of the decoder; for "unet" at each resolution."""
    decoder_heads: int = 16
    """Of attention, for "transformer"."""
    grn: bool = True
    """Global response normalisation; False shows what it is good for."""
    grn_aggregation: convnext.Aggregation = "l2"
    """See :class:`inpaint.layers.convnext.GlobalResponseNorm`, as for ``grn_normalisation``."""
    grn_normalisation: convnext.Normalisation = "divisive"
    attention: Literal["affinity", "none"] = "affinity"
    """As a prior: attend by the similarity of features, or not at all."""
    inverse_temperature: float = formerly("sharpness", default=10.0)
    """Factor of the similarity before the softmax, that of contextual attention (Yu et al., CVPR 2018)."""

    @property
    def patch_size(self) -> int:
        """Side of a patch: one position after the last stage."""
        return convnext.STEM * 2 ** (len(self.depths) - 1)


class ConvNeXtDecoder(nn.ModuleList):
    """Blocks of ConvNeXt V2, one after the other; the encoder's stages are not read."""

    rate = 1

    def __init__(self, width: int, depth: int, grn: MakeGrn | None) -> None:
        super().__init__(convnext.build_block(width, grn) for _ in range(depth))

    def forward(self, latent: Tensor, stages: Sequence[Tensor]) -> Tensor:
        """Map ``(B, E, h, w)`` to the same shape."""
        for block in self:
            latent = block(latent)
        return latent


class UNetDecoder(nn.Module):
    """The same blocks at every resolution of the encoder, whose stages join on the way up."""

    def __init__(self, stage_widths: Sequence[int], width: int, depth: int, grn: MakeGrn | None) -> None:
        super().__init__()
        self.rate = 2 ** (len(stage_widths) - 1)
        self.levels = nn.ModuleList(ConvNeXtDecoder(width, depth, grn) for _ in stage_widths)
        self.joins = nn.ModuleList(nn.Conv2d(joining, width, 1) for joining in stage_widths[-2::-1])

    def forward(self, latent: Tensor, stages: Sequence[Tensor]) -> Tensor:
        """Map ``(B, E, h, w)`` to ``(B, E, rate * h, rate * w)``."""
        features = self.levels[0](latent, stages)
        for level, join, stage in zip(self.levels[1:], self.joins, stages[-2::-1], strict=True):
            features = F.interpolate(features, scale_factor=2, mode="nearest") + join(stage)
            features = level(features, stages)
        return features


class TransformerDecoder(nn.Module):
    """The decoder of a masked autoencoder of transformer blocks; the encoder's stages are not read."""

    rate = 1

    def __init__(self, grid: tuple[int, int], width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.grid = grid
        self.positions = nn.Buffer(sincos_positions(*grid, width), persistent=False)
        self.blocks = nn.ModuleList(TransformerBlock(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, latent: Tensor, stages: Sequence[Tensor]) -> Tensor:
        """Map ``(B, E, h, w)`` to the same shape."""
        tokens = latent.flatten(2).transpose(1, 2) + self.positions
        for block in self.blocks:
            tokens, _ = block(tokens)
        return self.norm(tokens).transpose(1, 2).unflatten(2, self.grid)


class FullyConvolutionalAutoencoder(PatchAutoencoder):
    """Encode the visible positions by masked convolutions, then decode all of them.

    Raises:
        InpaintError: timm is not installed.
        ConfigError: the preset has neither three nor four stages.
    """

    def __init__(self, preset: FcmaePreset) -> None:
        super().__init__(preset.image_size, preset.patch_size, preset.decoder_width)
        self.preset = preset
        choices = {"aggregation": preset.grn_aggregation, "normalisation": preset.grn_normalisation}
        grn = partial(GlobalResponseNorm, **choices) if preset.grn else None
        self.encoder = convnext.MaskedConvNeXt(preset.depths, preset.widths, grn)
        self.to_decoder = nn.Conv2d(preset.widths[-1], preset.decoder_width, 1)
        self.mask_token = nn.Parameter(torch.zeros(1, preset.decoder_width, 1, 1))
        width, depth = preset.decoder_width, preset.decoder_depth
        self.decoder = {
            "convnext": lambda: ConvNeXtDecoder(width, depth, grn),
            "unet": lambda: UNetDecoder(preset.widths, width, depth, grn),
            "transformer": lambda: TransformerDecoder(self.grid, width, depth, preset.decoder_heads),
        }[preset.decoder]()
        self.tile_size = preset.patch_size // self.decoder.rate
        self.to_pixels = nn.Conv2d(width, self.tile_size**2 * 3, 1)
        self._initialise()

    def _initialise(self) -> None:
        """Truncated normal weights of deviation 0.02 and no biases, as timm starts the encoder."""
        for module in (self.to_decoder, *self.decoder.modules(), self.to_pixels):
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.mask_token, std=0.02)

    def decode(self, normalised: Tensor, hidden: Tensor) -> Tensor:
        """The decoder's output everywhere, visible or not: ``(B, E, h, w)``; a U-Net's is finer."""
        covered = hidden.unflatten(1, self.grid)[:, None]  # (B, 1, h, w)
        stages = self.encoder(normalised, ~covered)  # the last one (B, C, h, w)
        latent = torch.where(covered, self.mask_token, self.to_decoder(stages[-1]))  # (B, E, h, w)
        return self.decoder(latent, stages)

    def predict_patches(
        self, normalised: Tensor, hidden: Tensor, mask: Tensor | None = None, *, visible: int | None = None
    ) -> Tensor:
        """See :meth:`PatchAutoencoder.predict_patches`; ``mask`` and ``visible`` change nothing here."""
        values = self.to_pixels(self.decode(normalised, hidden))
        tiles = values.flatten(2).transpose(1, 2)  # (B, rate^2 * N, tile_size^2 * 3)
        if self.tile_size == self.patch_size:
            return tiles
        image = unpatchify(tiles, self.tile_size, (values.shape[-2], values.shape[-1]))
        return patchify(image, self.patch_size)

    def forward(self, image: Tensor, mask: Tensor) -> PriorFeatures:
        """See :meth:`PatchAutoencoder.forward`: the decoder's features, before the pixels.

        A decoder of convolutions has no attention: tokens attend to tokens with similar features, as in
        contextual attention, in float32 whatever the precision around it.
        """
        check_pair(image, mask)
        image, mask = self.fit_square(image, mask)
        masks = token_masks(mask, self.patch_size)
        features = F.adaptive_avg_pool2d(self.decode(self.normalise(image), masks.any), self.grid)
        attention = None
        if self.preset.attention == "affinity":
            with torch.autocast(image.device.type, enabled=False):
                vectors = features.to(torch.promote_types(features.dtype, torch.float32)).flatten(2)
                attention = cosine_attention(vectors, vectors, self.preset.inverse_temperature, ~masks.full)
        return PriorFeatures(features, attention)
