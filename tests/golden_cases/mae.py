"""Masked autoencoder against MAE-FAR's (no class token, mixed masks) and the original (class token)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from inpaint.models.mae import MaePreset, MaskedAutoencoder
from inpaint.tokens import patchify, token_masks, top_up, unpatchify
from tests.golden_cases.case import Case, gradient_norms

_RENAMED = {
    "patch_embed.proj": "embed",
    "blocks": "encoder",
    "norm": "encoder_norm",
    "decoder_embed": "to_decoder",
    "decoder_blocks": "decoder",
    "decoder_pred": "to_pixels",
    "cls_token": "class_token",
    "decoder_patch_embed.proj": "partial_embed",
    "alpha": "partial_blend",
}
_RENAMED_IN_BLOCK = {
    "norm1": "norm_attention",
    "norm2": "norm_mlp",
    "attn.qkv": "attention.qkv",
    "attn.proj": "attention.projection",
    "mlp.fc1": "mlp.expand",
    "mlp.fc2": "mlp.contract",
}


def our_name(key: str) -> str | None:
    """Our name of an official parameter; None for the fixed position tables, which we compute."""
    if key in ("pos_embed", "decoder_pos_embed"):
        return None
    for old, new in _RENAMED.items():
        if key == old or key.startswith(f"{old}."):
            key = new + key[len(old) :]
            break
    for old, new in _RENAMED_IN_BLOCK.items():
        key = key.replace(f".{old}.", f".{new}.")
    return key


def build(case: Case, weights: dict[str, Tensor], config: dict[str, Any] | None = None) -> MaskedAutoencoder:
    """The network a case describes, in float64, with the case's weights."""
    config = case.config if config is None else config
    preset = MaePreset(
        image_size=config["img_size"],
        patch_size=config["patch_size"],
        width=config["embed_dim"],
        depth=config["depth"],
        heads=config["num_heads"],
        decoder_width=config["decoder_embed_dim"],
        decoder_depth=config["decoder_depth"],
        decoder_heads=config["decoder_num_heads"],
        mlp_ratio=config["mlp_ratio"],
        feature_layer=config["decoder_depth"],
        class_token="cls_token" in weights,
        partial_patches="decoder_patch_embed.proj.weight" in weights,
    )
    model = MaskedAutoencoder(preset)
    model.load_state_dict({name: value for key, value in weights.items() if (name := our_name(key))})
    return model.double().eval()


def _score_all_keys(model: MaskedAutoencoder, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Features and attention scored over every key (``mask_decoder=False``), which the prior never uses."""
    hidden = token_masks(mask, model.preset.patch_size).any
    normalised = model.normalise(image)
    tokens = model._encode_all(normalised, hidden, mask)
    features, attention = model.decode(tokens, score_keys=torch.ones_like(hidden))
    assert attention is not None
    return features.transpose(1, 2).unflatten(2, model.grid), attention


@torch.no_grad()
def check_feature(case: Case) -> dict[str, Any]:
    """Prior features and averaged attention."""
    model = build(case, case.weights())
    image, mask = case.image(), case.mask()
    if case.config["mask_decoder"]:
        features, attention = model(image, mask)
    else:
        features, attention = _score_all_keys(model, image, mask)
    masks = token_masks(mask, model.preset.patch_size)
    stride = case.config["feature_channel_stride"]
    return {
        "scores": attention,
        "mask_any": masks.any,
        "mask_full": masks.full,
        "feature": features,
        "feature_ch_sub": features[:, ::stride],
        "feature_mean_per_channel": features.mean(dim=(2, 3)),
    }


@torch.no_grad()
def check_image(case: Case) -> dict[str, Any]:
    """The autoencoder's picture, in normalised units."""
    model = build(case, case.weights())
    mask = case.mask()
    hidden = token_masks(mask, model.preset.patch_size).any
    patches = model.predict_patches(model.normalise(case.image()), hidden, mask)
    picture = unpatchify(patches, model.preset.patch_size, model.grid)
    stride = case.config["image_pixel_stride"]
    return {
        "image_sub": picture[:, :, ::stride, ::stride],
        "image_row_means": picture.mean(dim=3),
        "mask_any": hidden,
    }


def check_mixed_training(case: Case) -> dict[str, Any]:
    """A training step of MAE-FAR's autoencoder: loss, token mask, predictions, gradient norms."""
    weights = case.weights()
    model = build(case, weights)
    image, config = case.image(), case.config
    noise = torch.from_numpy(case.inputs["noise"])
    touched = token_masks(case.mask(), model.preset.patch_size).any
    if config.get("random_mask"):
        touched = torch.zeros_like(touched)
    hidden = top_up(touched, config["mask_ratio"], noise)
    normalised = model.normalise(image)
    target = model.target_patches(normalised, per_patch=config.get("norm_pix_loss", False))
    results: dict[str, Any] = {}
    if model.partial_embed is None:
        prediction = model.predict_patches(normalised, hidden)
        loss = ((prediction - target).square().mean(dim=-1) * hidden).sum() / hidden.sum()
    else:  # this variant also loses the pixels of the tokens hidden at random, and counts pixels, not tokens
        random_pixels = (hidden & ~touched).double().view(-1, 1, *model.grid)
        lost = torch.maximum(case.mask(), F.interpolate(random_pixels, image.shape[-2:], mode="nearest"))
        prediction = model.predict_patches(normalised, hidden, lost)
        weight = patchify(lost.expand(-1, 3, -1, -1), model.preset.patch_size)
        loss = ((prediction - target).square() * weight).sum() / weight.sum()
        partial = touched & ~token_masks(case.mask(), model.preset.patch_size).full
        results = {"irr_mask": lost, "partial_mask": partial}
    loss.backward()
    rows, values = config["pred_stride"]
    return results | {
        "loss": loss,
        "mask": hidden,
        "pred_sub": prediction[:, ::rows, ::values],
        "grad_norms": gradient_norms(
            {key: model.get_parameter(name) for key in config["grad_keys"] if (name := our_name(key))},
            config["grad_keys"],
        ),
    }


def check_random_training(case: Case) -> dict[str, Any]:
    """A training step of the original autoencoder, with class token and purely random masking."""
    model = build(case, case.weights())
    config = case.config
    noise = torch.from_numpy(case.inputs["noise"])
    hidden = top_up(torch.zeros_like(noise, dtype=torch.bool), config["mask_ratio"], noise)
    normalised = model.normalise(case.image())
    target = model.target_patches(normalised, per_patch=config["norm_pix_loss"])
    prediction = model.predict_patches(normalised, hidden)
    loss = ((prediction - target).square().mean(dim=-1) * hidden).sum() / hidden.sum()
    loss.backward()
    latent, places = model.encode(normalised, hidden)
    # The reference lists visible tokens by noise, we by place.
    order = noise.gather(1, places).argsort(dim=1)[..., None].expand(-1, -1, latent.shape[-1])
    latent = torch.cat([latent[:, :1], latent[:, 1:].gather(1, order)], dim=1)
    rows, values = config["stride"]
    return {
        "loss": loss,
        "mask": hidden,
        "ids_restore": noise.argsort(dim=1).argsort(dim=1),
        "pred_sub": prediction[:, ::rows, ::values],
        "latent_sub": latent[:, ::rows, ::values],
        "grad_norms": gradient_norms(
            {key: model.get_parameter(name) for key in config["grad_keys"] if (name := our_name(key))},
            config["grad_keys"],
        ),
    }
