# Copyright 2026 The AudioSlots-HF authors. All rights reserved.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""
Shared parts of the dual-path families (DPRNN, arXiv 1910.06379; GALR, arXiv 2101.05014): a learned encoder and decoder,
segments of frames, the recurrent block within a segment, and the masks.

All hidden states of the separator have the layout (segment_length, batch_size, num_segments, hidden_size): the frames of all
segments then form a time-major batch for the LSTM without a copy.
"""

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.processing_utils import Unpack
from transformers.utils import ModelOutput, TransformersKwargs, auto_docstring, can_return_tuple
from transformers.utils.output_capturing import capture_outputs

from .capabilities import ModelCapabilities
from .configuration_dual_path import DualPathConfig
from .losses import matched_negative_si_snr, without_autocast
from .modeling_outputs import AudioSeparationOutput
from .saving import SelfContainedModel


# queried once, outside of code that torch.compile traces
CPU_CAPABILITY = torch.backends.cpu.get_cpu_capability()


@auto_docstring(custom_intro="Output of every dual-path model without its masks.")
@dataclass
class DualPathModelOutput(ModelOutput):
    r"""
    last_hidden_state (`torch.Tensor` of shape `(batch_size, num_frames, hidden_size)`):
        Hidden states that the masks are computed from.
    encoded (`torch.Tensor` of shape `(batch_size, num_frames, hidden_size)`):
        The encoded mixture, to which the masks are applied.
    """

    last_hidden_state: torch.Tensor | None = None
    encoded: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


def segment_frames(frames: torch.Tensor, segment_length: int) -> torch.Tensor:
    """
    Cut frames into segments that overlap by half, so that every frame lies in two of them.

    (batch_size, num_frames, size) -> (segment_length, batch_size, num_segments, size). Half a segment of zeros is added before
    the frames, and zeros after them fill the last segment.
    """
    half = segment_length // 2
    num_frames = frames.shape[1]
    frames = nn.functional.pad(frames, (0, 0, half, half + -num_frames % half))
    # (batch_size, num_halves, half, size) -> (half, batch_size, num_halves, size)
    halves = frames.unflatten(1, (-1, half)).permute(2, 0, 1, 3)
    return torch.cat([halves[:, :, :-1], halves[:, :, 1:]])


def overlap_add(segments: torch.Tensor, num_frames: int) -> torch.Tensor:
    """The inverse of [`segment_frames`] except for a factor of two: every frame is the sum over both of its segments."""
    half = segments.shape[0] // 2
    # the first half of the first segment and the second half of the last one contain only padding
    halves = segments[:half, :, 1:] + segments[half:, :, :-1]
    # (half, batch_size, num_halves, size) -> (batch_size, num_halves * half, size)
    return halves.permute(1, 2, 0, 3).flatten(1, 2)[:, :num_frames]


def fourier_filters(kernel_size: int, like: torch.Tensor) -> torch.Tensor:
    """
    An orthonormal Fourier basis with a sine window, and its negative: (2 * kernel_size, kernel_size)

    After rectification the two halves hold the positive and the negative parts. With these filters in encoder and decoder the
    mixture is reconstructed exactly.
    """
    times = torch.arange(kernel_size, dtype=torch.float32, device=like.device) + 0.5
    frequencies = torch.arange(kernel_size // 2 + 1, dtype=torch.float32, device=like.device)[:, None]
    angles = 2 * math.pi * frequencies * times / kernel_size
    # at these times the cosines are 0 at half the sampling rate, and the sines at frequency 0
    basis = torch.cat([angles[:-1].cos(), angles[1:].sin()])
    basis[[0, -1]] /= 2**0.5
    basis = basis * (2 / kernel_size) ** 0.5 * (math.pi * times / kernel_size).sin()
    return torch.cat([basis, -basis]).to(like.dtype)


def mixture_consistent(estimates: torch.Tensor, mixtures: torch.Tensor) -> torch.Tensor:
    """
    Distribute the difference from the mixture equally among the estimates (Wisdom et al. 2019, arXiv 1811.08521).

    SI-SNR does not determine the scale of an estimate; the constraint that estimates sum to the mixture does.
    (batch_size, num_sources, num_samples), (batch_size, num_samples) -> same shape as the first.
    """
    residual = mixtures.unsqueeze(1) - estimates.sum(dim=1, keepdim=True)
    return estimates + residual / estimates.shape[1]


def global_statistics(hidden_states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(length, batch_size, length, hidden_size) -> variance and mean of each example: (1, batch_size, 1, 1)"""
    dims = (0, 2, 3)
    if torch.is_grad_enabled():
        # saves only its input for the backward pass
        return torch.var_mean(hidden_states, dim=dims, correction=0, keepdim=True)
    # two separate passes are an order of magnitude faster on a CPU, where `var_mean` is not vectorized
    mean = hidden_states.mean(dim=dims, keepdim=True)
    return (hidden_states - mean).square().mean(dim=dims, keepdim=True), mean


class DualPathGlobalLayerNorm(nn.Module):
    """gLN (Luo and Mesgarani, arXiv 1809.07454): statistics over a whole example, a scale and a shift per feature."""

    def __init__(self, config: DualPathConfig):
        super().__init__()
        self.eps = config.layer_norm_eps
        self.weight = nn.Parameter(torch.ones(config.hidden_size))
        self.bias = nn.Parameter(torch.zeros(config.hidden_size))

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(length, batch_size, length, hidden_size) -> same"""
        variance, mean = global_statistics(hidden_states.float())
        # one multiplication and addition per value; only the input is saved for the backward pass
        scale = self.weight * torch.rsqrt(variance + self.eps)
        shift = self.bias - mean * scale
        return torch.addcmul(shift.to(hidden_states.dtype), hidden_states, scale.to(hidden_states.dtype))


def recurrence_precision(device: torch.device) -> AbstractContextManager:
    """
    Context for LSTMs: bfloat16 under autocast on a CPU that supports it, else float32.

    On a GPU, autocast computes an LSTM in float16 even with bfloat16 autocast, in which small gradients would vanish. Most
    CPUs support no LSTM in half precision, and none supports float16 for training.
    """
    is_bfloat16 = device.type == "cpu" and torch.get_autocast_dtype("cpu") == torch.bfloat16
    return nullcontext() if is_bfloat16 and CPU_CAPABILITY == "AVX512" else without_autocast(device)


class DualPathRecurrentBlock(nn.Module):
    """A bidirectional LSTM along time, a projection and gLN, with a residual connection."""

    def __init__(self, config: DualPathConfig):
        super().__init__()
        self.lstm = nn.LSTM(config.hidden_size, config.lstm_hidden_size, bidirectional=True)
        self.proj = nn.Linear(2 * config.lstm_hidden_size, config.hidden_size)
        self.norm = DualPathGlobalLayerNorm(config)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(num_steps, batch_size, num_sequences, hidden_size) -> same, recurrent along the steps"""
        # a quantized LSTM lacks these weights
        dtype = getattr(self.lstm, "weight_ih_l0", hidden_states).dtype
        with recurrence_precision(hidden_states.device):
            recurrent, _ = self.lstm(hidden_states.flatten(1, 2).to(dtype))
        return hidden_states + self.norm(self.proj(recurrent).view_as(hidden_states))

    @torch.no_grad()
    def silence(self) -> None:
        """Make the block an identity until it is trained: adding it does not change the output of a model."""
        self.norm.weight.zero_()
        self.norm.bias.zero_()


class DualPathEncoder(nn.Module):
    """A learned filterbank in place of the STFT."""

    def __init__(self, config: DualPathConfig):
        super().__init__()
        stride = config.encoder_stride
        # padded by a stride on both sides, so that two frames cover every sample
        self.filterbank = nn.Conv1d(
            1, config.hidden_size, config.encoder_kernel_size, stride, padding=stride, bias=False
        )

    def forward(self, input_values: torch.Tensor) -> torch.Tensor:
        """(batch_size, num_samples) -> (batch_size, num_frames, hidden_size)"""
        return self.filterbank(input_values.unsqueeze(1)).relu().transpose(1, 2)


class DualPathMasker(nn.Module):
    """A gated mask of the encoded mixture for each source."""

    def __init__(self, config: DualPathConfig):
        super().__init__()
        self.num_sources = config.num_sources
        self.act_fn = nn.PReLU()
        self.source_proj = nn.Linear(config.hidden_size, config.num_sources * config.hidden_size)
        self.value_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.gate_proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(batch_size, num_frames, hidden_size) -> (batch_size, num_sources, num_frames, hidden_size)"""
        sources = self.source_proj(self.act_fn(hidden_states))
        sources = sources.unflatten(-1, (self.num_sources, -1)).transpose(1, 2)
        return (self.value_proj(sources).tanh() * self.gate_proj(sources).sigmoid()).relu()


class DualPathDecoder(nn.Module):
    """A learned filterbank in place of the inverse STFT."""

    def __init__(self, config: DualPathConfig):
        super().__init__()
        stride = config.encoder_stride
        self.filterbank = nn.ConvTranspose1d(
            config.hidden_size, 1, config.encoder_kernel_size, stride, padding=stride, bias=False
        )

    def forward(self, encoded: torch.Tensor) -> torch.Tensor:
        """(batch_size, num_sources, num_frames, hidden_size) -> (batch_size, num_sources, num_samples)"""
        batch_size, num_sources = encoded.shape[:2]
        waveforms = self.filterbank(encoded.flatten(0, 1).transpose(1, 2))
        return waveforms.view(batch_size, num_sources, -1)


@auto_docstring
class DualPathPreTrainedModel(SelfContainedModel, PreTrainedModel):
    config: DualPathConfig
    base_model_prefix = "model"
    main_input_name = "input_values"
    input_modalities = ("audio",)
    supports_gradient_checkpointing = True
    # the loss is a mean over the batch: transformers' Trainer must divide it by the number of accumulated steps
    accepts_loss_kwargs = False
    # what stands in for token embeddings, where adapters let gradients begin
    _input_embed_layer = "encoder"

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        # PyTorch's own scales: the default N(0, 0.02) leaves the filterbanks nearly silent, and does not cover LSTMs
        if isinstance(module, nn.Linear | nn.Conv1d | nn.ConvTranspose1d):
            fan_in = module.weight[0].numel()
            init.uniform_(module.weight, -(fan_in**-0.5), fan_in**-0.5)
            if module.bias is not None:
                init.uniform_(module.bias, -(fan_in**-0.5), fan_in**-0.5)
        # CODEPATH: training/configs/galr-cpu.yaml and the shipped checkpoints use "fourier", the papers' configs "random"
        if isinstance(module, nn.Conv1d | nn.ConvTranspose1d) and self.config.filterbank_init == "fourier":
            init.copy_(
                module.weight, fourier_filters(self.config.encoder_kernel_size, like=module.weight).unsqueeze(1)
            )
        elif isinstance(module, nn.LSTM):
            for parameter in module.parameters():
                init.uniform_(parameter, -(module.hidden_size**-0.5), module.hidden_size**-0.5)
        elif isinstance(module, nn.PReLU):
            init.constant_(module.weight, 0.25)
        elif isinstance(module, DualPathGlobalLayerNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)


@auto_docstring(custom_intro="From a mixture to the hidden states for its masks. A family sets its `layer_class`.")
class DualPathModel(DualPathPreTrainedModel):
    layer_class: type[nn.Module]

    def __init__(self, config: DualPathConfig):
        super().__init__(config)
        self.encoder = DualPathEncoder(config)
        self.norm = DualPathGlobalLayerNorm(config)
        self.layers = nn.ModuleList([self.layer_class(config) for _ in range(config.num_hidden_layers)])
        self.post_init()

    # the last hidden state has another layout than the layers' outputs: it would replace the last of them
    @capture_outputs(tie_last_hidden_states=False)
    @auto_docstring
    def forward(self, input_values: torch.Tensor, **kwargs: Unpack[TransformersKwargs]) -> DualPathModelOutput:
        r"""
        input_values (`torch.Tensor` of shape `(batch_size, num_samples)`):
            Mixtures at unit level, from [`WaveformFeatureExtractor`].
        """
        encoded = self.encoder(input_values.to(self.encoder.filterbank.weight.dtype))
        normalized = self.norm(encoded.unsqueeze(0)).squeeze(0)
        hidden_states = segment_frames(normalized, self.config.segment_length)
        for layer in self.layers:
            hidden_states = layer(hidden_states, **kwargs)
        hidden_states = overlap_add(hidden_states, encoded.shape[1])
        return DualPathModelOutput(last_hidden_state=hidden_states, encoded=encoded)


@auto_docstring(custom_intro="One waveform per source of a mixture. A family sets its `model_class`.")
class DualPathForAudioSeparation(DualPathPreTrainedModel, ModelCapabilities):
    growable_fields = ("num_hidden_layers",)
    model_class: type[DualPathModel]

    def __init__(self, config: DualPathConfig):
        super().__init__(config)
        self.model = self.model_class(config)
        self.masker = DualPathMasker(config)
        self.decoder = DualPathDecoder(config)
        self.post_init()

    def start_new_parts(self, before: DualPathConfig) -> set[str]:
        """The last layers, which the checkpoint lacks, return their input until they are trained."""
        added = set()
        for index, layer in enumerate(self.model.layers):
            if index >= before.num_hidden_layers:
                layer.local_block.silence()
                layer.global_block.silence()
                added |= {f"model.layers.{index}.{name}" for name in layer.state_dict()}
        return added

    @can_return_tuple
    @auto_docstring
    def forward(
        self,
        input_values: torch.Tensor,
        labels: torch.Tensor | None = None,
        levels: torch.Tensor | None = None,
        num_samples: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> AudioSeparationOutput:
        r"""
        input_values (`torch.Tensor` of shape `(batch_size, num_samples)`):
            Mixtures at unit level, from [`WaveformFeatureExtractor`]; `num_samples` is a multiple of `encoder_stride`.
        labels (`torch.Tensor` of shape `(batch_size, num_sources, num_samples)`, *optional*):
            References, in any order.
        levels (`torch.Tensor` of shape `(batch_size,)`, *optional*):
            Not used by the model, but by `post_process_audio_separation`.
        num_samples (`torch.Tensor` of shape `(batch_size,)`, *optional*):
            Not used by the model, but by `post_process_audio_separation`.
        """
        if input_values.shape[-1] % self.config.encoder_stride != 0:
            raise ValueError(
                f"`input_values` has {input_values.shape[-1]} samples: pad it to a multiple of `encoder_stride` "
                f"({self.config.encoder_stride}), as the feature extractor pads to chunks."
            )
        outputs: DualPathModelOutput = self.model(input_values, return_dict=True, **kwargs)
        masks = self.masker(outputs.last_hidden_state)
        estimates = self.decoder(masks * outputs.encoded.unsqueeze(1))
        # in float32: estimates in half precision would not sum to the mixture
        estimates = mixture_consistent(estimates.float(), input_values.float())

        loss = None
        if labels is not None:
            loss = matched_negative_si_snr(estimates, labels)

        return AudioSeparationOutput(
            loss=loss,
            estimates=estimates,
            last_hidden_state=outputs.last_hidden_state,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )


def sinusoidal_positions(length: int, like: torch.Tensor) -> torch.Tensor:
    """
    Sines and cosines of Vaswani et al. 2017 -> (length, size of the last dimension of `like`), its dtype and device.

    Computed in each call instead of stored as a buffer, because `from_pretrained` leaves non-persistent buffers uninitialized.
    """
    size = like.shape[-1]
    exponents = torch.arange(0, size, 2, dtype=torch.float32, device=like.device) / size
    times = torch.arange(length, dtype=torch.float32, device=like.device)
    angles = times[:, None] * torch.exp(-math.log(10000.0) * exponents)
    return torch.cat([angles.sin(), angles.cos()], dim=-1).to(like.dtype)


__all__ = ["DualPathForAudioSeparation", "DualPathModel", "DualPathPreTrainedModel"]
