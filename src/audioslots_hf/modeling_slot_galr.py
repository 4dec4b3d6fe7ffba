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
PyTorch SlotGALR model: the slots of AudioSlots (arXiv 2305.05591) attend to a map of bands and frames. As in GALR (arXiv
2101.05014), the map is processed locally, and by attention on a summary of the frames. Each slot conditions the map to give
a complex mask of its source.

The map has the layout (batch_size, num_slots, num_frames, num_bands, map_hidden_size), with a single slot before the slots.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.processing_utils import Unpack
from transformers.utils import ModelOutput, TransformersKwargs, auto_docstring, can_return_tuple
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

from .capabilities import ModelCapabilities
from .configuration_slot_galr import SlotGalrConfig
from .losses import activity_loss, matched_snr
from .matching import reorder_estimates
from .modeling_audioslots import AudioSlotsAttention, eager_attention_forward
from .modeling_dual_path import mixture_consistent
from .modeling_outputs import AudioSeparationOutput, record_hidden_states
from .modeling_slot_galr_slots import SlotGalrSlots, join_chunks
from .saving import SelfContainedModel
from .stft import inverse_real_stft, real_stft


@auto_docstring(custom_intro="Output of the SlotGALR model without its masks.")
@dataclass
class SlotGalrModelOutput(ModelOutput):
    r"""
    last_hidden_state (`torch.Tensor` of shape `(batch_size, num_slots, num_frames, num_bands, map_hidden_size)`):
        The map of each source, from which its mask is made.
    slots (`torch.Tensor` of shape `(batch_size, num_slots, hidden_size)`):
        The slots.
    spectra (`torch.Tensor` of shape `(batch_size, 2, n_fft / 2 + 1, num_frames)`):
        The mixture as real and imaginary parts, which the masks multiply.
    """

    last_hidden_state: torch.Tensor | None = None
    slots: torch.Tensor | None = None
    spectra: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


class SlotGalrBandProjection(nn.Module):
    """One linear map per band, for all bands of one width: batched matrix products."""

    def __init__(self, num_bands: int, in_features: int, out_features: int, bias: bool = True):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_bands, in_features, out_features))
        self.bias = nn.Parameter(torch.empty(num_bands, out_features)) if bias else None

    def forward(self, bands: torch.Tensor) -> torch.Tensor:
        """(..., num_bands, in_features) -> (..., num_bands, out_features)"""
        rows = bands.flatten(0, -3).transpose(0, 1)
        mapped = rows @ self.weight if self.bias is None else torch.baddbmm(self.bias.unsqueeze(1), rows, self.weight)
        return mapped.transpose(0, 1).unflatten(0, bands.shape[:-2])


class SlotGalrEncoder(nn.Module):
    """Power-compressed complex bins, gathered in bands that grow with the frequency."""

    def __init__(self, config: SlotGalrConfig):
        super().__init__()
        self.config = config
        groups = zip(config.num_bands_per_width, config.band_widths, strict=True)
        self.bands = nn.ModuleList(
            [SlotGalrBandProjection(count, 2 * width, config.map_hidden_size) for count, width in groups]
        )

    def forward(self, spectra: torch.Tensor) -> torch.Tensor:
        """(batch_size, 2, n_fft / 2 + 1, num_frames) -> (batch_size, 1, num_frames, num_bands, map_hidden_size)"""
        powers = spectra.square().sum(dim=1, keepdim=True)
        compressed = spectra * powers.clamp(min=1e-10) ** ((self.config.compression_exponent - 1) / 2)
        # (batch_size, num_frames, num_bins, 2); the Nyquist bin follows its neighbour's mask
        compressed = compressed.permute(0, 3, 2, 1)[:, :, :-1].to(self.bands[0].weight.dtype)
        sizes = [
            width * count
            for width, count in zip(self.config.band_widths, self.config.num_bands_per_width, strict=True)
        ]
        groups = compressed.split(sizes, dim=2)
        bands = [
            projection(group.unflatten(2, (-1, width)).flatten(3))
            for projection, group, width in zip(self.bands, groups, self.config.band_widths, strict=True)
        ]
        return torch.cat(bands, dim=2).unsqueeze(1)


class SlotGalrConvolution(nn.Module):
    """
    A convolution along the bands or along the frames of the map, its weight one matrix.

    A matrix rather than four dimensions, so that an optimizer of matrices (Muon) takes it.
    """

    def __init__(self, in_features: int, out_features: int, frame_kernel_size: int, band_kernel_size: int):
        super().__init__()
        self.kernel_size = (frame_kernel_size, band_kernel_size)
        self.weight = nn.Parameter(torch.empty(out_features, in_features * frame_kernel_size * band_kernel_size))
        self.bias = nn.Parameter(torch.empty(out_features))

    def forward(self, cells: torch.Tensor) -> torch.Tensor:
        """(batch_size, num_slots, num_frames, num_bands, in_features) -> (..., out_features)"""
        images = cells.flatten(0, 1).permute(0, 3, 1, 2)
        weight = self.weight.view(len(self.weight), -1, *self.kernel_size)
        padding = (self.kernel_size[0] // 2, self.kernel_size[1] // 2)
        mapped = nn.functional.conv2d(images, weight, self.bias, padding=padding)
        return mapped.permute(0, 2, 3, 1).unflatten(0, cells.shape[:2])


class SlotGalrGatedBlock(nn.Module):
    """A gated convolution (SwiGLU) along bands or frames, with a residual connection: the local processing."""

    def __init__(self, config: SlotGalrConfig, frame_kernel_size: int, band_kernel_size: int):
        super().__init__()
        size, intermediate_size = config.map_hidden_size, config.map_intermediate_size
        self.norm = nn.RMSNorm(size, eps=config.layer_norm_eps)
        self.conv = SlotGalrConvolution(size, 2 * intermediate_size, frame_kernel_size, band_kernel_size)
        self.proj = nn.Linear(intermediate_size, size)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(batch_size, num_slots, num_frames, num_bands, map_hidden_size) -> same"""
        values, gates = self.conv(self.norm(hidden_states)).chunk(2, dim=-1)
        return hidden_states + self.proj(nn.functional.silu(gates) * values)


class SlotGalrAttention(nn.Module):
    """Multi-head self-attention along one dimension of the map."""

    is_causal = False

    def __init__(self, config: SlotGalrConfig):
        super().__init__()
        self.config = config
        self.head_dim = config.map_hidden_size // config.map_num_attention_heads
        self.scaling = self.head_dim**-0.5
        self.norm = nn.RMSNorm(config.map_hidden_size, eps=config.layer_norm_eps)
        self.qkv_proj = nn.Linear(config.map_hidden_size, 3 * config.map_hidden_size)
        self.o_proj = nn.Linear(config.map_hidden_size, config.map_hidden_size)

    def forward(self, sequences: torch.Tensor, **kwargs: Unpack[TransformersKwargs]) -> torch.Tensor:
        """(num_sequences, length, map_hidden_size) -> same, without a residual connection"""
        states = self.qkv_proj(self.norm(sequences)).unflatten(-1, (3, -1, self.head_dim))
        # (num_sequences, num_heads, length, head_dim)
        query, key, value = (part.transpose(1, 2) for part in states.unbind(dim=2))
        attention_interface: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        attended, _ = attention_interface(self, query, key, value, None, dropout=0.0, scaling=self.scaling, **kwargs)
        return self.o_proj(attended.flatten(2))


class SlotGalrLayer(GradientCheckpointingLayer):
    """
    Gated convolutions along bands and along frames, attention across the bands, and attention across a summary of all frames
    of all slots.

    The summary is the mean of `summary_stride` frames; the result for each summary is added to all of its frames.
    """

    def __init__(self, config: SlotGalrConfig):
        super().__init__()
        self.summary_stride = config.summary_stride
        self.band_block = SlotGalrGatedBlock(config, 1, config.band_kernel_size)
        self.band_attention = SlotGalrAttention(config)
        self.frame_block = SlotGalrGatedBlock(config, config.frame_kernel_size, 1)
        self.frame_attention = SlotGalrAttention(config)

    def forward(self, hidden_states: torch.Tensor, **kwargs: Unpack[TransformersKwargs]) -> torch.Tensor:
        """(batch_size, num_slots, num_frames, num_bands, map_hidden_size) -> same"""
        hidden_states = self.band_block(hidden_states)
        attended = self.band_attention(hidden_states.flatten(0, 2), **kwargs)
        hidden_states = self.frame_block(hidden_states + attended.view_as(hidden_states))
        return hidden_states + self.attend_across_frames(hidden_states, **kwargs)

    @torch.no_grad()
    def silence(self) -> None:
        """Make the layer an identity: the last map of each residual branch becomes zero."""
        for proj in (
            self.band_block.proj,
            self.band_attention.o_proj,
            self.frame_block.proj,
            self.frame_attention.o_proj,
        ):
            init.zeros_(proj.weight)
            init.zeros_(proj.bias)

    def attend_across_frames(self, hidden_states: torch.Tensor, **kwargs: Unpack[TransformersKwargs]) -> torch.Tensor:
        """(batch_size, num_slots, num_frames, num_bands, map_hidden_size) -> same, without a residual connection"""
        num_slots, num_frames = hidden_states.shape[1:3]
        padding = -num_frames % self.summary_stride
        padded = nn.functional.pad(hidden_states, (0, 0, 0, 0, 0, padding))
        summary = padded.unflatten(2, (-1, self.summary_stride)).mean(dim=3)
        # (batch_size, num_bands, num_slots, num_summaries, map_hidden_size) -> sequences of all slots
        sequences = summary.permute(0, 3, 1, 2, 4)
        attended = self.frame_attention(sequences.flatten(2, 3).flatten(0, 1), **kwargs)
        attended = attended.view(*sequences.shape[:2], num_slots, -1, sequences.shape[-1]).permute(0, 2, 3, 1, 4)
        return attended.repeat_interleave(self.summary_stride, dim=2)[:, :, :num_frames]


class SlotGalrModulation(nn.Module):
    """A map for each slot: a scale and a shift of every channel (FiLM, arXiv 1709.07871)."""

    def __init__(self, config: SlotGalrConfig):
        super().__init__()
        self.norm = nn.RMSNorm(config.map_hidden_size, eps=config.layer_norm_eps)
        self.proj = nn.Linear(config.hidden_size, 2 * config.map_hidden_size)

    def forward(self, hidden_states: torch.Tensor, slots: torch.Tensor) -> torch.Tensor:
        """(batch_size, 1, num_frames, num_bands, map_hidden_size) -> (batch_size, num_slots, ...)"""
        scales, shifts = self.proj(slots)[:, :, None, None].chunk(2, dim=-1)
        return self.norm(hidden_states) * (1 + scales) + shifts


class SlotGalrDecoder(nn.Module):
    """
    From the map of each source to its complex mask.

    The projections have no bias: a term that all masks share cancels in the constraint on the sum of the estimates.
    """

    def __init__(self, config: SlotGalrConfig):
        super().__init__()
        self.config = config
        self.norm = nn.RMSNorm(config.map_hidden_size, eps=config.layer_norm_eps)
        groups = zip(config.num_bands_per_width, config.band_widths, strict=True)
        self.bands = nn.ModuleList(
            [SlotGalrBandProjection(count, config.map_hidden_size, 2 * width, bias=False) for count, width in groups]
        )

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(batch_size, num_slots, num_frames, num_bands, map_hidden_size) -> (batch_size, num_slots, 2, num_bins, num_frames)"""
        groups = self.norm(hidden_states).split(list(self.config.num_bands_per_width), dim=3)
        masks = [
            # (..., num_bands, 2 * width) -> (..., num_bands * width, 2)
            projection(group).unflatten(-1, (-1, 2)).flatten(3, 4)
            for projection, group in zip(self.bands, groups, strict=True)
        ]
        masks = torch.cat(masks, dim=3).permute(0, 1, 4, 3, 2).float()
        # the Nyquist bin, which is not an input of the network
        return torch.cat([masks, masks[..., -1:, :]], dim=-2)


@auto_docstring
class SlotGalrPreTrainedModel(SelfContainedModel, PreTrainedModel):
    config: SlotGalrConfig
    base_model_prefix = "model"
    main_input_name = "input_values"
    input_modalities = ("audio",)
    supports_gradient_checkpointing = True
    # the loss is a mean over the batch: transformers' Trainer must divide it by the number of accumulated steps
    accepts_loss_kwargs = False
    # what stands in for token embeddings, where adapters let gradients begin
    _input_embed_layer = "encoder"
    _no_split_modules = ["SlotGalrLayer", "AudioSlotsTransformerLayer", "AudioSlotsSlotAttentionLayer"]
    _supports_sdpa = True
    _supports_flash_attn = True
    _can_record_outputs = {
        "hidden_states": record_hidden_states(SlotGalrLayer),
        "attentions": OutputRecorder(AudioSlotsAttention, index=1, layer_name="cross_attn"),
    }

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, nn.Linear | SlotGalrConvolution | SlotGalrBandProjection):
            init.normal_(module.weight, std=module.weight.shape[1] ** -0.5)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, nn.RMSNorm):
            init.ones_(module.weight)
        elif isinstance(module, SlotGalrSlots):
            # unit variance separates the slots from the start, like the learned queries of DETR
            init.normal_(module.queries)
            if module.previous_proj is not None:
                module.ignore_previous_slots()


@auto_docstring(custom_intro="SlotGALR without its masks: from a mixture to a map for each source.")
class SlotGalrModel(SlotGalrPreTrainedModel):
    def __init__(self, config: SlotGalrConfig):
        super().__init__(config)
        self.encoder = SlotGalrEncoder(config)
        self.layers = nn.ModuleList([SlotGalrLayer(config) for _ in range(config.num_map_layers)])
        self.slots = SlotGalrSlots(config)
        self.modulation = SlotGalrModulation(config)
        self.source_layers = nn.ModuleList([SlotGalrLayer(config) for _ in range(config.num_source_layers)])
        self.post_init()

    @capture_outputs
    @auto_docstring
    def forward(
        self,
        input_values: torch.Tensor,
        initial_slots: torch.Tensor | None = None,
        recording_ids: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> SlotGalrModelOutput:
        r"""
        input_values (`torch.Tensor` of shape `(batch_size, num_samples)`):
            Mixtures at unit level, from [`WaveformFeatureExtractor`].
        initial_slots (`torch.Tensor` of shape `(batch_size, num_slots, hidden_size)`, *optional*):
            With `sequential_slots`, the slots of the chunk before, zeros where a recording begins, which is the default.
        recording_ids (`torch.Tensor` of shape `(batch_size,)`, *optional*):
            With `sequential_slots`, the recording of each chunk: those of one recording follow each other, in order of time.
        """
        spectra = real_stft(input_values, self.config.n_fft, self.config.hop_length)
        hidden_states = self.encoder(spectra)
        for layer in self.layers:
            hidden_states = layer(hidden_states, **kwargs)
        slots = self.slots(hidden_states, input_values, initial_slots, recording_ids, **kwargs)
        hidden_states = self.modulation(hidden_states, slots)
        for layer in self.source_layers:
            hidden_states = layer(hidden_states, **kwargs)
        return SlotGalrModelOutput(last_hidden_state=hidden_states, slots=slots, spectra=spectra)


@auto_docstring(custom_intro="SlotGALR: one waveform per slot, and its activity in each frame.")
class SlotGalrForAudioSeparation(SlotGalrPreTrainedModel, ModelCapabilities):
    growable_fields = ("num_map_layers", "num_source_layers", "sequential_slots")
    model_class = SlotGalrModel

    def __init__(self, config: SlotGalrConfig):
        super().__init__(config)
        self.model = self.model_class(config)
        self.decoder = SlotGalrDecoder(config)
        self.activity_proj = nn.Linear(config.map_hidden_size, 1)
        self.post_init()

    def start_new_parts(self, before: SlotGalrConfig) -> set[str]:
        """
        The last layers before and after the slots, which the checkpoint lacks, return their input until they are trained.

        Until then, sequential slots begin every chunk with the learned queries alone.
        """
        added = set()
        if self.model.slots.previous_proj is not None and not before.sequential_slots:
            self.model.slots.ignore_previous_slots()
            added.add("model.slots.previous_proj.weight")
        parts = (
            ("layers", self.model.layers, before.num_map_layers),
            ("source_layers", self.model.source_layers, before.num_source_layers),
        )
        for name, layers, num_before in parts:
            for index, layer in enumerate(layers):
                if index >= num_before:
                    layer.silence()
                    added |= {f"model.{name}.{index}.{key}" for key in layer.state_dict()}
        return added

    @can_return_tuple
    @auto_docstring
    def forward(
        self,
        input_values: torch.Tensor,
        labels: torch.Tensor | None = None,
        initial_slots: torch.Tensor | None = None,
        recording_ids: torch.Tensor | None = None,
        levels: torch.Tensor | None = None,
        num_samples: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> AudioSeparationOutput:
        r"""
        input_values (`torch.Tensor` of shape `(batch_size, num_samples)`):
            Mixtures at unit level, from [`WaveformFeatureExtractor`]; `num_samples` is a multiple of `hop_length`.
        labels (`torch.Tensor` of shape `(batch_size, num_slots, num_samples)`, *optional*):
            References, in any order; the target for a silent reference is a silent estimate.
        initial_slots (`torch.Tensor` of shape `(batch_size, num_slots, hidden_size)`, *optional*):
            With `sequential_slots`, the slots of the chunk before, zeros where a recording begins, which is the default.
        recording_ids (`torch.Tensor` of shape `(batch_size,)`, *optional*):
            The recording of each chunk, all in order of time: the loss has one order of the references for each recording. With
            `sequential_slots`, the chunks of a recording also follow each other, from the `initial_slots` of its first row on.
        levels (`torch.Tensor` of shape `(batch_size,)`, *optional*):
            Not used by the model, but by `post_process_audio_separation`.
        num_samples (`torch.Tensor` of shape `(batch_size,)`, *optional*):
            Not used by the model, but by `post_process_audio_separation`.
        """
        if input_values.shape[-1] % self.config.hop_length != 0:
            raise ValueError(
                f"`input_values` has {input_values.shape[-1]} samples: pad it to a multiple of `hop_length` "
                f"({self.config.hop_length}), as the feature extractor pads to chunks."
            )
        outputs: SlotGalrModelOutput = self.model(
            input_values, initial_slots=initial_slots, recording_ids=recording_ids, return_dict=True, **kwargs
        )
        real, imaginary = self.decoder(outputs.last_hidden_state).unbind(dim=2)
        spectra_real, spectra_imaginary = outputs.spectra.unsqueeze(1).unbind(dim=2)
        masked_real = real * spectra_real - imaginary * spectra_imaginary
        masked_imaginary = real * spectra_imaginary + imaginary * spectra_real
        masked = torch.stack([masked_real, masked_imaginary], dim=2)
        estimates = inverse_real_stft(masked, self.config.n_fft, self.config.hop_length)
        # a mask of zeros gives each slot an equal share
        estimates = mixture_consistent(estimates, input_values.float())
        activity = self.activity_proj(outputs.last_hidden_state.mean(dim=3)).squeeze(-1)

        loss = None if labels is None else self.compute_loss(estimates, labels, activity, recording_ids)
        return AudioSeparationOutput(
            loss=loss,
            estimates=estimates,
            activity=activity,
            slots=outputs.slots,
            last_hidden_state=outputs.slots,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )

    def compute_loss(
        self,
        estimates: torch.Tensor,
        labels: torch.Tensor,
        activity: torch.Tensor,
        recording_ids: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The matched SNR, with one order for all chunks of a recording, and the loss of the activity in that order."""
        if recording_ids is not None:
            estimates, labels, activity = (
                join_chunks(values, recording_ids) for values in (estimates, labels, activity)
            )
        loss, orders = matched_snr(estimates, labels)
        activity = reorder_estimates(activity, orders)
        return loss + self.config.activity_loss_weight * activity_loss(activity, labels)


__all__ = ["SlotGalrForAudioSeparation", "SlotGalrModel", "SlotGalrPreTrainedModel"]
