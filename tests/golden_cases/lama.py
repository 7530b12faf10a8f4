"""The generator without a prior, against LaMa's."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor, nn

from inpaint.models.generator import FourierGenerator, GeneratorPreset
from tests.golden_cases.blocks import our_block_name
from tests.golden_cases.case import Case


def our_names(weights: dict[str, Tensor], blocks: int, downs: int) -> dict[str, str]:
    """Our names of LaMa's parameters; the two halves of its last down-sampling share ours."""
    layers = {1: ("stem", "stem_norm")} | {2 + i: (f"downs.{i}", f"down_norms.{i}") for i in range(downs)}
    first_block = 2 + downs
    first_up = first_block + blocks + 1  # the layer before joins the two branches and has no parameters
    names = {}
    for key in weights:
        number, rest = int(key.split(".")[1]), key.split(".", 2)[2]
        if number in layers:
            convolution, norm = layers[number]
            rest = re.sub(r"^ffc\.convl2[lg]\.", f"{convolution}.", rest)
            names[key] = re.sub(r"^bn_[lg]\.", f"{norm}.", rest)
        elif number < first_block + blocks:
            names[key] = f"blocks.{number - first_block}.{our_block_name(rest)}"
        else:
            step, part = divmod(number - first_up, 3)
            # After the up-samplings of (convolution, norm, ReLU) come a padding and the last convolution.
            names[key] = f"head.{rest}" if step == downs else f"{('ups', 'up_norms')[part]}.{step}.{rest}"
    return names


def our_state(weights: dict[str, Tensor], names: dict[str, str], downs: int) -> dict[str, Tensor]:
    """Our state dict; where two official tensors share a name they are concatenated, local before global."""
    state: dict[str, Tensor] = {}
    for key in sorted(
        weights, key=lambda key: ("l2g" in key) or ("bn_g" in key and key.startswith(f"model.{1 + downs}."))
    ):
        name, value = names[key], weights[key]
        if name in state and value.ndim:
            value = torch.cat([state[name], value])
        state[name] = value
    return state


def record_stages(model: FourierGenerator, stages: dict[str, nn.Module]) -> dict[str, Tensor]:
    """Keep the output of the named modules of the next forward."""
    recorded: dict[str, Tensor] = {}
    for stage, module in stages.items():
        module.register_forward_hook(lambda _m, _i, output, stage=stage: recorded.__setitem__(stage, output))
    return recorded


def subsample(case: Case, recorded: dict[str, Tensor]) -> dict[str, Tensor]:
    """The intermediate stages as the reference stores them."""
    strides = case.config["stage_strides"]
    return {
        f"st.{stage}_sub": value[:, :: strides[stage][0], :: strides[stage][1], :: strides[stage][1]]
        for stage, value in recorded.items()
    }


def check_generator(case: Case) -> dict[str, Any]:
    """The whole generator: output, stages, composite; gradients in training mode."""
    config, weights = case.config, case.weights()
    preset = GeneratorPreset(
        width=config["ngf"],
        blocks=config["n_blocks"],
        local_fourier=config["resnet_conv_kwargs"]["enable_lfu"],
        downsamplings=config["n_downsampling"],
    )
    model = FourierGenerator(preset)
    names = our_names(weights, preset.blocks, preset.downsamplings)
    model.load_state_dict(our_state(weights, names, preset.downsamplings))
    model.double().train(config["train_mode"])
    # LaMa's "down" is after the last ReLU; ours is a function call, so take its input to the first block.
    recorded: dict[str, Tensor] = {}
    model.blocks[0].register_forward_pre_hook(lambda _m, inputs: recorded.__setitem__("down", inputs[0]))
    later = record_stages(
        model, {"block0": model.blocks[0], "blocks_cat": model.blocks[-1], "logits": model.head}
    )
    image, mask = case.image(), case.mask()
    output = model(image, mask)
    stride = config["pixel_stride"]
    composite = torch.where(mask > 0, output, image)
    results: dict[str, Any] = subsample(case, recorded | later) | {
        "y_sub": output[:, :, ::stride, ::stride],
        "y_rowmean": output.mean(dim=3),
        # The published script truncates; ours rounds when it writes files.
        "inpainted_u8_sub": (composite[0].permute(1, 2, 0)[::stride, ::stride] * 255).clamp(0, 255).floor(),
    }
    if config["train_mode"]:
        weight = torch.from_numpy(case.random("/gy").standard_normal(output.shape).astype("float32"))
        (output * weight.double()).mean().backward()
        results["grad_norms"] = _official_gradient_norms(model, names, weights, config["grad_keys"])
    return results


def _official_gradient_norms(
    model: FourierGenerator, names: dict[str, str], weights: dict[str, Tensor], order: list[str]
) -> list[float]:
    """Gradient norms per official tensor, cutting our joined ones back into local and global parts."""
    norms = []
    for key in order:
        gradient = model.get_parameter(names[key]).grad
        assert gradient is not None
        size = weights[key].shape[0]
        part = gradient[:size] if "l2l" in key or "bn_l" in key else gradient[-size:]
        norms.append(float(part.norm()))
    return norms
