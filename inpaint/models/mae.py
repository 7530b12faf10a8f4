"""Masked autoencoder: the prior that predicts features of the hole, and what to attend to.

Shapes: ``N`` tokens in a square grid, ``V`` visible ones, ``D`` encoder width, ``E`` decoder width,
``P = patch_size ** 2 * 3`` values of a patch. Images come in [0, 1] and are normalised inside.

Source:
    He et al., *Masked Autoencoders Are Scalable Vision Learners* (CVPR 2022); Cao et al., *Learning Prior
    Feature and Attention Enhanced Image Inpainting* (ECCV 2022) for mixed masks, features and attention.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inpaint.layers.transformer import TransformerBlock
from inpaint.mask import check_pair
from inpaint.models.patch_autoencoder import PatchAutoencoder, PriorFeatures
from inpaint.tokens import sincos_positions, token_masks


@dataclass(frozen=True)
class MaePreset:
    """Hyper-parameters of a masked autoencoder."""

    image_size: int = 256
    """Side of the square the image is brought to, whatever its own size."""
    patch_size: int = 16
    width: int = 768
    depth: int = 12
    heads: int = 12
    decoder_width: int = 512
    decoder_depth: int = 8
    decoder_heads: int = 16
    mlp_ratio: float = 4.0
    feature_layer: int = 8
    """Decoder layer whose output (after the final norm) is the prior feature; 6 is an alternative."""
    class_token: bool = False
    """As in the original MAE; the prior of MAE-FAR has none."""
    partial_patches: bool = False
    """Also embed the known pixels of partly hidden patches (MAE-FAR's fine-tuned variant, which its authors
    do not recommend: its published weights run here, the training loop does not train it)."""


class MaskedAutoencoder(PatchAutoencoder):
    """Encode the visible tokens only, then decode all of them."""

    def __init__(self, preset: MaePreset) -> None:
        super().__init__(preset.image_size, preset.patch_size, preset.decoder_width)
        self.preset = preset
        self.embed = nn.Conv2d(3, preset.width, preset.patch_size, stride=preset.patch_size)
        self.encoder = nn.ModuleList(
            TransformerBlock(preset.width, preset.heads, preset.mlp_ratio) for _ in range(preset.depth)
        )
        self.encoder_norm = nn.LayerNorm(preset.width, eps=1e-6)
        self.to_decoder = nn.Linear(preset.width, preset.decoder_width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, preset.decoder_width))
        self.decoder = nn.ModuleList(
            TransformerBlock(preset.decoder_width, preset.decoder_heads, preset.mlp_ratio)
            for _ in range(preset.decoder_depth)
        )
        self.decoder_norm = nn.LayerNorm(preset.decoder_width, eps=1e-6)
        self.to_pixels = nn.Linear(preset.decoder_width, preset.patch_size**2 * 3)
        self.class_token = nn.Parameter(torch.zeros(1, 1, preset.width)) if preset.class_token else None
        self.partial_embed: nn.Conv2d | None = None
        if preset.partial_patches:
            self.partial_embed = nn.Conv2d(4, preset.decoder_width, preset.patch_size, preset.patch_size)
            self.partial_blend = nn.Parameter(torch.ones(()))

        self.positions = nn.Buffer(sincos_positions(*self.grid, preset.width), persistent=False)
        decoder_positions = sincos_positions(*self.grid, preset.decoder_width)
        self.decoder_positions = nn.Buffer(decoder_positions, persistent=False)
        self._initialise()

    def _initialise(self) -> None:
        """Xavier-uniform linear layers, patch embedding as a linear layer, small tokens (MAE, appendix A)."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.xavier_uniform_(module.weight.flatten(1))
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.mask_token, std=0.02)
        if self.class_token is not None:
            nn.init.normal_(self.class_token, std=0.02)

    def encode(self, normalised: Tensor, hidden: Tensor, visible: int | None = None) -> tuple[Tensor, Tensor]:
        """Encode the tokens that are not hidden; hidden ones are dropped, not computed.

        Arguments as for :meth:`predict_patches`. Returns ``latent`` ``(B, V, D)``, with V the largest number
        of visible tokens of an image, and ``places`` ``(B, V)``, the position of each in the grid. Rows of
        images with fewer visible tokens end in padding at hidden places, which no other token attends to. A
        class token comes first in ``latent`` and has no place.
        """
        tokens = self.embed(normalised).flatten(2).transpose(1, 2) + self.positions  # (B, N, D)
        if visible is not None:
            fewest = longest = visible
        else:
            counts = (~hidden).sum(dim=1)
            fewest, longest = int(counts.min()), max(int(counts.max()), 1)
        places = hidden.to(torch.uint8).argsort(dim=1, stable=True)[:, :longest]
        tokens = tokens.gather(1, places[..., None].expand(-1, -1, tokens.shape[-1]))  # (B, V, D)
        may_attend = None
        if fewest < longest:
            may_attend = ~hidden.gather(1, places)
            # An image without any visible token attends to its own padding; nothing reads the result.
            may_attend = may_attend | ~may_attend.any(dim=1, keepdim=True)
        if self.class_token is not None:
            tokens = torch.cat([self.class_token.expand(len(tokens), -1, -1), tokens], dim=1)
            may_attend = None if may_attend is None else F.pad(may_attend, (1, 0), value=True)
        for block in self.encoder:
            tokens, _ = block(tokens, may_attend)
        return self.encoder_norm(tokens), places

    def decoder_input(self, latent: Tensor, places: Tensor, hidden: Tensor) -> Tensor:
        """Put encoded tokens in their places, the mask token elsewhere: ``(B, N[+1], E)``."""
        tokens = self.to_decoder(latent)  # (B, V[+1], E)
        class_token = tokens[:, :1]
        if self.class_token is not None:
            tokens = tokens[:, 1:]
        mask_token = self.mask_token.to(tokens.dtype)
        canvas = mask_token.expand(*hidden.shape, -1)  # (B, N, E)
        canvas = canvas.scatter(1, places[..., None].expand(-1, -1, tokens.shape[-1]), tokens)
        canvas = torch.where(hidden[..., None], mask_token, canvas)  # over the padding
        return torch.cat([class_token, canvas], dim=1) if self.class_token is not None else canvas

    def decode(
        self, tokens: Tensor, *, layers: int | None = None, score_keys: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Run the decoder over all tokens ``(B, N, E)``.

        Returns the normed output of layer ``layers`` (None = the last), and, if asked by ``score_keys``,
        scores ``(B, N, N)`` averaged over **all** layers; see :class:`inpaint.layers.transformer.Attention`.
        """
        positions = self.decoder_positions
        if self.class_token is not None:
            positions = F.pad(positions, (0, 0, 1, 0))
        outputs, layer_scores = [tokens + positions], []
        for block in self.decoder if score_keys is not None else self.decoder[:layers]:
            tokens, scores = block(outputs[-1], score_keys=score_keys)
            outputs.append(tokens)
            layer_scores.append(scores)
        output = self.decoder_norm(outputs[-1 if layers is None else layers])
        if self.class_token is not None:
            output = output[:, 1:]
        return output, torch.stack(layer_scores).mean(dim=0) if score_keys is not None else None

    def predict_patches(
        self, normalised: Tensor, hidden: Tensor, mask: Tensor | None = None, *, visible: int | None = None
    ) -> Tensor:
        """See :meth:`PatchAutoencoder.predict_patches`; ``mask`` is read only with ``partial_patches``."""
        features, _ = self.decode(self._encode_all(normalised, hidden, mask, visible))  # (B, N, E)
        return self.to_pixels(features)

    def forward(self, image: Tensor, mask: Tensor) -> PriorFeatures:
        """See :meth:`PatchAutoencoder.forward`."""
        check_pair(image, mask)
        image, mask = self.fit_square(image, mask)  # S x S
        masks = token_masks(mask, self.preset.patch_size)
        tokens = self._encode_all(self.normalise(image), masks.any, mask)
        features, attention = self.decode(tokens, layers=self.preset.feature_layer, score_keys=~masks.full)
        return PriorFeatures(features.transpose(1, 2).unflatten(2, self.grid), attention)

    def _encode_all(
        self, normalised: Tensor, hidden: Tensor, mask: Tensor | None, visible: int | None = None
    ) -> Tensor:
        """The decoder's input ``(B, N[+1], E)``, with ``partial_patches`` also of the pixels they show."""
        latent, places = self.encode(normalised, hidden, visible)
        tokens = self.decoder_input(latent, places, hidden)
        if self.partial_embed is None or mask is None:
            return tokens
        embedded = self.partial_embed(torch.cat([normalised * (1 - mask), mask], dim=1))
        blend = self.partial_blend.clamp(0, 1)
        mixed = blend * tokens + (1 - blend) * embedded.flatten(2).transpose(1, 2)
        partial = hidden & ~token_masks(mask, self.preset.patch_size).full
        return torch.where(partial[..., None], mixed, tokens)
