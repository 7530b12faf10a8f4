"""Inpainting networks rearranged for inference: the same function in less time and memory.

BatchNorm is folded into the convolutions, everything is channels-last, and what is as large as the image is
computed in strips of rows that stay in the processor's cache: the stem with the adapter's last stage and the
first down-sampling, and the last up-sampling with the head. Weights are copies; nothing here can be trained.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inpaint.baselines import push_pull
from inpaint.device import bf16_speedup
from inpaint.errors import InpaintError
from inpaint.framing import pad_to_multiple
from inpaint.layers.ffc import FourierConvolution
from inpaint.layers.winograd import WinogradConvolution
from inpaint.mask import binarize, check_pair, hole_fields
from inpaint.models.generator import add_noise, smooth
from inpaint.models.inpainter import Inpainter

Precision = Literal["float32", "bfloat16", "auto"]

BF16_PAYS = 1.33
"""bfloat16 is chosen where it is faster than float32 by this factor."""
LEAST_FOR_WINOGRAD = 48
"""Local channels from which Winograd's form of the 3x3 convolutions is faster on a CPU; cuDNN has its own."""
STRIP_VALUES = 2**19
"""Values of full-resolution features in a strip on the CPU: 2 MB, so that a few of them stay in the cache."""


class InferenceInpainter(nn.Module):
    """What an :class:`inpaint.models.inpainter.Inpainter` computes in evaluation, only faster.

    Args:
        model: whose weights to copy; in float32 the prior is shared, not copied.
        holes_only: predict the holes and 3 pixels around them; where they are far, the result is the image.
        dtype: of the prior's linear layers, the adapter, the transposed convolutions and the products behind
            Fourier transforms; all else is in float32: bfloat16 costs more accuracy than it saves time.
    """

    def __init__(
        self, model: Inpainter, dtype: torch.dtype = torch.float32, *, holes_only: bool = False
    ) -> None:
        super().__init__()
        self.preset, self.holes_only = model.preset, holes_only
        self.prior: Any = model.prior
        if dtype != torch.float32 and model.prior is not None:
            self.prior = copy.deepcopy(model.prior)
            _convert_linear(self.prior, dtype)
        with torch.no_grad():
            self.generator = _Generator(model.generator, model.adapter, dtype)
        self.eval().requires_grad_(False)

    @torch.inference_mode()
    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """See :meth:`inpaint.models.inpainter.Inpainter.forward`; the result is clamped to [0, 1]."""
        check_pair(image, mask)
        height, width = image.shape[-2:]
        mask = binarize(mask)
        multiple = 2 ** (self.preset.generator.downsamplings + 1)
        image = pad_to_multiple(torch.where(mask > 0, 0.0, image), multiple)
        mask = pad_to_multiple(mask, multiple)
        levels, attention = None, None
        if self.prior is not None:
            features, attention = self.prior(image, mask)
            if self.generator.adapter is not None:
                levels = self.generator.adapter.levels(features, (image.shape[-2], image.shape[-1]))
        wanted = _hole_cells(mask if self.holes_only else torch.ones_like(mask), multiple // 2)
        return self.generator(image, mask, levels, attention, wanted)[..., :height, :width].clamp(0, 1)

    def without_prior(self) -> InferenceInpainter:
        """The generator alone, with the same weights in memory."""
        alone = copy.copy(self)
        alone._modules = {**self._modules, "prior": None}
        return alone


def choose_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """What to compute in: ``auto`` takes bfloat16 where this machine is measurably faster with it."""
    if precision not in get_args(Precision):
        raise InpaintError(f"got precision {precision!r}, expected {', '.join(get_args(Precision))}")
    if precision != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
    pays = device.type in ("cpu", "cuda") and bf16_speedup(device) > BF16_PAYS
    return torch.bfloat16 if pays else torch.float32


class _Convolution(nn.Module):
    """A convolution without padding, with its BatchNorm folded in."""

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None = None,
        norm: nn.BatchNorm2d | None = None,
        *,
        stride: int = 1,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        weight, bias = _fold(weight, bias, norm)
        self.weight = nn.Buffer(weight.to(dtype, memory_format=torch.channels_last))
        self.bias = nn.Buffer(bias.to(dtype))
        self.stride = stride

    def forward(self, features: Tensor, padding: int = 0) -> Tensor:
        """Map ``(B, C, H, W)`` of any type to ``(B, C', H', W')`` of the weights' type."""
        return F.conv2d(features.to(self.weight.dtype), self.weight, self.bias, self.stride, padding)


class _Fourier(nn.Module):
    """:class:`FourierConvolution` without a local Fourier unit, on all channels in one tensor."""

    def __init__(self, layer: FourierConvolution, dtype: torch.dtype) -> None:
        super().__init__()
        self.local = layer.norm_local.num_features
        to_local = torch.cat([layer.local_to_local.weight, layer.global_to_local.weight], dim=1)
        to_local, bias = _fold(to_local, None, layer.norm_local)
        to_global, _ = _fold(layer.local_to_global.weight, None, layer.norm_global)
        self.winograd: WinogradConvolution | None = None
        if self.local >= LEAST_FOR_WINOGRAD and bias.device.type == "cpu":
            no_bias = bias.new_zeros(len(to_global))  # it is added behind the Fourier unit
            self.winograd = WinogradConvolution([to_local, to_global], torch.cat([bias, no_bias]))
        else:
            self.to_local, self.to_global = _Convolution(to_local, bias), _Convolution(to_global)
        spectral = layer.global_to_global
        # 1x1 convolutions as matrix products read one layout and write the other.
        weight, bias = _fold(spectral.squeeze.weight.flatten(1), None, spectral.norm)
        self.squeeze, self.squeeze_bias = nn.Buffer(weight), nn.Buffer(bias[:, None])
        weight, bias = _fold(spectral.widen.weight.flatten(1), None, layer.norm_global)
        self.widen, self.widen_bias = nn.Buffer(weight.to(dtype)), nn.Buffer(bias.to(dtype))
        # It reads real parts of all channels first, then imaginary parts: two plain copies of the spectrum.
        weight, bias = _fold(spectral.fourier.convolution.weight.flatten(1), None, spectral.fourier.norm)
        order = torch.arange(len(bias)).view(-1, 2).T.flatten()
        self.mix, self.mix_bias = nn.Buffer(weight[:, order].to(dtype)), nn.Buffer(bias.to(dtype))

    def forward(self, features: Tensor) -> Tensor:
        """Map channels-last ``(B, C, H, W)``, local channels first, to the same."""
        size = features.shape[-2:]
        rows = features[:, self.local :].permute(0, 2, 3, 1).flatten(1, 2)
        squeezed = torch.matmul(self.squeeze, rows.transpose(1, 2)).add_(self.squeeze_bias).relu_()
        total = self.transform(squeezed.unflatten(2, size)).flatten(2).add_(squeezed)
        widened = F.linear(total.transpose(1, 2).to(self.widen.dtype), self.widen, self.widen_bias)
        output = self.convolve(features)
        output[:, self.local :].add_(widened.unflatten(1, size).permute(0, 3, 1, 2))
        return output.relu_()

    def convolve(self, features: Tensor) -> Tensor:
        """All 3x3 convolutions, before the ReLU."""
        if self.winograd is not None:
            return self.winograd(features)
        padded = F.pad(features, (1, 1, 1, 1), mode="reflect")
        return torch.cat([self.to_local(padded), self.to_global(padded[:, : self.local])], dim=1)

    def transform(self, features: Tensor) -> Tensor:
        """The Fourier unit, ``(B, C, H, W)`` float32, contiguous, to the same."""
        spectrum = torch.fft.rfft2(features, norm="ortho")
        parts = torch.cat([spectrum.real, spectrum.imag], dim=1).flatten(2)
        # Channels last: their inverse transform takes half the time.
        mixed = F.linear(parts.transpose(1, 2).to(self.mix.dtype), self.mix, self.mix_bias).relu_()
        mixed = torch.view_as_complex(mixed.float().unflatten(2, (-1, 2))).transpose(1, 2)
        mixed = mixed.unflatten(2, spectrum.shape[-2:])
        return torch.fft.irfft2(mixed, s=features.shape[-2:], norm="ortho")


class _Residual(nn.Sequential):
    """:class:`FourierResidualBlock`."""

    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features).add_(features)


class _Upsample(nn.Module):
    """A transposed convolution of kernel 3 and stride 2 as four small convolutions, one for each phase.

    Output row ``2 i`` reads input row ``i`` alone, row ``2 i + 1`` rows ``i`` and ``i + 1``.
    """

    TAPS = ((1,), (2, 0))

    def __init__(self, up: nn.ConvTranspose2d, norm: nn.BatchNorm2d, relu: bool, dtype: torch.dtype) -> None:
        super().__init__()
        self.lowest = 0.0 if relu else -torch.inf
        weight, bias = _fold(up.weight.transpose(0, 1), up.bias, norm)
        self.phases: Any = nn.ModuleList(
            _Convolution(weight[:, :, rows][..., columns], bias, dtype=dtype)
            for rows in self.TAPS
            for columns in self.TAPS
        )

    def forward(self, features: Tensor, start: int, stop: int, output: Tensor) -> None:
        """Up-sample some rows of ``(B, C, H + 1, W + 1)``, which ends in zeros, into ``output``."""
        width = features.shape[-1] - 1
        for index, phase in enumerate(self.phases):
            row, column = divmod(index, 2)
            values = phase(features[:, :, start : stop + row])[..., :width].to(output.dtype)
            torch.clamp_min(values, self.lowest, out=output[:, :, row::2, column::2])


class _Gated(nn.Module):
    """A stage of the adapter: gated transposed convolution of kernel 4 and stride 2, and BatchNorm."""

    def __init__(self, up: Any, norm: nn.BatchNorm2d, dtype: torch.dtype) -> None:
        super().__init__()
        scale, shift = _affine(norm)
        scale = torch.cat([scale, torch.ones_like(scale)])  # of the value, not of the gate
        weight = (up.weight * scale.view(1, -1, 1, 1)).to(dtype, memory_format=torch.channels_last)
        self.weight, self.bias = nn.Buffer(weight), nn.Buffer((up.bias * scale).to(dtype))
        self.shift = nn.Buffer(shift.view(-1, 1, 1))

    def forward(self, features: Tensor, start: int, stop: int) -> Tensor:
        """Up-sample rows of ``(B, C, H + 2, W)``, which begins and ends in zeros, to twice as many."""
        piece = features[:, :, start : stop + 2].to(self.weight.dtype)
        both = F.conv_transpose2d(piece, self.weight, self.bias, 2, (3, 1)).float()
        # As F.glu does, which is several times as slow where channels are last: halves of them are scattered.
        values, gates = (half.contiguous(memory_format=torch.channels_last) for half in both.chunk(2, dim=1))
        return values.mul_(gates.sigmoid_()).add_(self.shift)


class _Adapter(nn.Module):
    """:class:`inpaint.models.adapter.PriorAdapter` whose last stage is left to be computed in strips."""

    def __init__(self, adapter: Any, dtype: torch.dtype) -> None:
        super().__init__()
        self.place = adapter.place
        self.stages: Any = nn.ModuleList(
            _Gated(up.convolution, norm, dtype) for up, norm in zip(adapter.ups, adapter.norms, strict=True)
        )
        self.alphas = [alpha.item() for alpha in adapter.alphas]

    def levels(self, features: Tensor, size: tuple[int, int]) -> list[Tensor]:
        """Features of the prior at 1/8, 1/4, 1/2 of ``size`` before their alphas, between rows of zeros."""
        features = F.pad(self.place(features, size), (0, 0, 1, 1))
        features = features.contiguous(memory_format=torch.channels_last)
        levels = []
        for stage in self.stages[:-1]:
            height, width = features.shape[2] - 2, features.shape[3]
            output = _empty(features, len(stage.shift), 2 * height + 2, 2 * width)
            output[:, :, 0], output[:, :, -1] = 0, 0
            for start, stop in _strips(output, height, 2):
                target = output[:, :, 2 * start + 1 : 2 * stop + 1]
                torch.clamp_min(stage(features, start, stop), 0, out=target)
            features = output
            levels.append(features)
        return levels


class _Generator(nn.Module):
    """:class:`inpaint.models.generator.FourierGenerator` on folded weights."""

    def __init__(self, generator: Any, adapter: Any, dtype: torch.dtype) -> None:
        super().__init__()
        self.adapter = None if adapter is None else _Adapter(adapter, dtype)
        self.preset, self.grid = generator.preset, generator.grid
        self.positions = generator.positions
        weight, bias = _fold(generator.stem.weight, generator.stem.bias, generator.stem_norm)
        if self.positions is not None:
            self.position_scale = nn.Buffer(_affine(generator.stem_norm)[0])
            constant = self.positions.distance_weight * self.positions.distance_table[0]
            bias = bias + constant * self.position_scale
        self.stem = _Convolution(weight, bias)
        self.downs: Any = nn.ModuleList(
            _Convolution(down.weight, down.bias, norm, stride=2)
            for down, norm in zip(generator.downs, generator.down_norms, strict=True)
        )
        self.transfer_before, self.transfer_after = generator.transfer_before, generator.transfer_after
        self.attend = generator.attend
        self.blocks = generator.blocks
        if not self.preset.local_fourier:
            self.blocks = nn.ModuleList(
                _Residual(_Fourier(block.first, dtype), _Fourier(block.second, dtype))
                for block in generator.blocks
            )
        centred = generator.preset.initial_fill != "zeros"
        self.ups: Any = nn.ModuleList(
            _Upsample(up, norm, relu=not (centred and up is generator.ups[-1]), dtype=dtype)
            for up, norm in zip(generator.ups, generator.up_norms, strict=True)
        )
        # Seven rows at once to one output for each column and colour; those are added along the rows.
        weight = generator.head.weight.permute(3, 0, 1, 2).flatten(0, 1)[..., None]
        self.head = _Convolution(weight)
        places = torch.eye(21).view(7, 3, 21).permute(1, 2, 0)[:, :, None]
        self.head_sum = _Convolution(places.to(weight.device), generator.head.bias)

    def forward(
        self,
        image: Tensor,
        mask: Tensor,
        levels: list[Tensor] | None,
        attention: Tensor | None,
        wanted: list[slice],
    ) -> Tensor:
        """``levels`` as from :class:`_Adapter`, ``wanted`` cells; see :class:`FourierGenerator`."""
        pushed = self.preset.initial_fill == "push_pull"
        filled = push_pull(image, mask) if pushed else torch.where(mask > 0, 0.0, image)
        noisy = add_noise(filled, mask, self.preset.hole_noise, anew=False)
        features = self.encode(noisy, mask, levels)
        features = self.attend(self.transfer_before, features, mask, attention)
        if self.adapter is not None and levels is not None:
            features = features.add(levels[0][:, :, 1:-1], alpha=self.adapter.alphas[0])
        features = features.contiguous(memory_format=torch.channels_last)
        for block in self.blocks:
            features = block(features)
        features = self.attend(self.transfer_after, features, mask, attention)
        output = self.decode(features[:, :, *wanted])
        rate = image.shape[2] // features.shape[2]
        pixels = [slice(rate * cells.start, rate * cells.stop) for cells in wanted]
        image[..., *pixels] = smooth(filled)[..., *pixels] + output if pushed else output.sigmoid_()
        return image

    def encode(self, filled: Tensor, mask: Tensor, levels: list[Tensor] | None) -> Tensor:
        features = self.encode_half(filled, mask, levels)
        for index, down in enumerate(self.downs[1:]):
            if self.adapter is not None and levels is not None:
                features.add_(levels[2 - index][:, :, 1:-1], alpha=self.adapter.alphas[2 - index])
            if self.preset.padding == "reflect":
                features = F.pad(features, (1, 1, 1, 1), mode="reflect")
            features = down(features, int(self.preset.padding == "zeros")).relu_()
        return features

    def encode_half(self, filled: Tensor, mask: Tensor, levels: list[Tensor] | None) -> Tensor:
        """All that is at full resolution, strip by strip: features at 1/2, ``(B, C, H / 2, W / 2)``."""
        padded = F.pad(torch.cat([filled, mask], dim=1), (3, 3, 3, 3), mode="reflect")
        padded = padded.contiguous(memory_format=torch.channels_last)
        add_positions = self.place_positions(mask)
        down, width = self.downs[0], self.preset.width
        size = filled.shape[2] // 2, filled.shape[3] // 2
        output = _empty(filled, len(down.weight), *size)
        above = None
        for start, stop in _strips(output, output.shape[2], 2):
            features = self.stem(padded[:, :, 2 * start : 2 * stop + 6])
            add_positions(features, 2 * start)
            strip = _empty(output, width, features.shape[2] + 1, features.shape[3] + 1)
            inner = strip[:, :, 1:, 1:]
            torch.clamp_min(features, 0, out=inner)
            if self.adapter is not None and levels is not None:
                level = self.adapter.stages[-1](levels[-1], start, stop).relu_()
                inner.add_(level, alpha=self.adapter.alphas[-1])
            reflect = self.preset.padding == "reflect"
            strip[:, :, 0] = strip[:, :, 2] * reflect if above is None else above
            strip[..., 0] = strip[..., 2] * reflect
            torch.clamp_min(down(strip), 0, out=output[:, :, start:stop])
            above = strip[:, :, -1]
        return output

    def place_positions(self, mask: Tensor) -> Callable[[Tensor, int], None]:
        """What adds the positional encoding to rows of the first features, in place; known pixels have it."""
        positions = self.positions
        if positions is None:
            return lambda features, first: None
        fields = hole_fields(mask, positions.grid)
        distance = positions.distance_table[fields.distance[:, 0]] - positions.distance_table[0]
        direction = torch.einsum("bdhw,dc->bhwc", fields.direction, positions.direction_table)
        cells = positions.distance_weight * distance + positions.direction_weight * direction
        cells = cells * self.position_scale
        places = torch.arange(positions.grid, dtype=torch.float32, device=mask.device).view(1, 1, -1)
        rows, columns = (F.interpolate(places, side, mode="nearest")[0, 0].long() for side in mask.shape[-2:])

        def add(features: Tensor, first: int) -> None:
            last = first + features.shape[2]
            hole = mask[:, 0, first:last, :, None]
            if hole.any():
                encoding = cells[:, rows[first:last]][:, :, columns]
                features.permute(0, 2, 3, 1).addcmul_(encoding, hole)

        return add

    def decode(self, features: Tensor) -> Tensor:
        padded = F.pad(features, (0, 1, 0, 1)).contiguous(memory_format=torch.channels_last)
        for up in self.ups[:-1]:
            height, width = padded.shape[2] - 1, padded.shape[3] - 1
            dtype, channels = up.phases[0].weight.dtype, len(up.phases[0].bias)
            output = _empty(padded, channels, 2 * height + 1, 2 * width + 1, dtype)
            output[:, :, -1], output[..., -1] = 0, 0
            for start, stop in _strips(output, height, 2):
                up(padded, start, stop, output[:, :, 2 * start : 2 * stop, :-1])
            padded = output
        return self.decode_full(padded)

    def decode_full(self, padded: Tensor) -> Tensor:
        """The last up-sampling and the head, strip by strip, from ``(B, C, H / 2 + 1, W / 2 + 1)``."""
        up, channels = self.ups[-1], self.preset.width
        height, width = padded.shape[2] - 1, 2 * (padded.shape[3] - 1)
        output = padded.new_empty(len(padded), 3, 2 * height, width, dtype=torch.float32)
        above, done = None, 0
        for start, stop in _strips(output, height, 2 * channels / 3):
            lead, tail, rows = (6 if start else 3), (0 if stop < height else 3), 2 * (stop - start)
            strip = _empty(padded, channels, lead + rows + tail, width, torch.float32)
            up(padded, start, stop, strip[:, :, lead : lead + rows])
            strip[:, :, :lead] = strip[:, :, 4:7].flip(2) if above is None else above
            if tail:
                strip[:, :, -3:] = strip[:, :, -7:-4].flip(2)
            above = strip[:, :, -6:]
            columns = F.pad(self.head(strip), (3, 3, 0, 0), mode="reflect")
            ready = strip.shape[2] - 6
            output[:, :, done : done + ready] = self.head_sum(columns)
            done += ready
        return output


def _hole_cells(mask: Tensor, rate: int) -> list[slice]:
    """Rows and columns, at the lowest resolution, on which the prediction in and near holes depends."""
    margin, found = 1 + -(-5 // rate), []  # 3 pixels to predict, 3 for the head, rate - 1 to up-sample
    for across in (3, 2):
        cells = F.max_pool1d(mask.amax((0, 1, across))[None], rate)[0]
        touched = cells.nonzero().flatten().tolist() or [0]
        found.append(slice(max(0, touched[0] - margin), min(len(cells), touched[-1] + 1 + margin)))
    return found


def _affine(norm: Any) -> tuple[Tensor, Tensor]:
    """What a BatchNorm does in evaluation: factors and offsets of the channels."""
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return scale, norm.bias - norm.running_mean * scale


def _fold(weight: Tensor, bias: Tensor | None, norm: nn.BatchNorm2d | None) -> tuple[Tensor, Tensor]:
    """Weight ``(C, ...)`` and bias ``(C)`` of a layer with the BatchNorm behind it."""
    bias = weight.new_zeros(len(weight)) if bias is None else bias
    if norm is None:
        return weight, bias
    scale, shift = _affine(norm)
    return weight * scale.view(-1, *[1] * (weight.ndim - 1)), bias * scale + shift


def _convert_linear(module: nn.Module, dtype: torch.dtype) -> None:
    """Let the linear layers inside a module compute in ``dtype``; they return float32."""
    for linear in module.modules():
        if isinstance(linear, nn.Linear):
            linear.to(dtype)
            linear.register_forward_pre_hook(lambda _, values: values[0].to(dtype))
            linear.register_forward_hook(lambda *values: values[-1].float())


def _empty(like: Tensor, channels: int, height: int, width: int, dtype: torch.dtype | None = None) -> Tensor:
    """Memory for channels-last features of a batch."""
    size = len(like), channels, height, width
    return torch.empty(size, dtype=dtype or like.dtype, device=like.device, memory_format=torch.channels_last)


def _strips(output: Tensor, rows: int, rate: float) -> Iterator[tuple[int, int]]:
    """Cut rows, each worth ``rate`` of ``output``, into strips; on other devices than the CPU into one."""
    size = rows
    if output.device.type == "cpu":
        size = max(4, int(STRIP_VALUES // (rate * len(output) * output.shape[1] * output.shape[3])))
    yield from ((start, min(start + size, rows)) for start in range(0, rows, size))
