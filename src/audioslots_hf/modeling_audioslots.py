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
"""PyTorch AudioSlots model: ResNet encoder, slots, spatial broadcast decoder (arXiv 2305.05591)."""

import math
from collections.abc import Callable

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutput
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs, auto_docstring, can_return_tuple
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

from .capabilities import ModelCapabilities
from .configuration_audioslots import AudioSlotsConfig
from .losses import matched_mse, speaker_contrastive_loss
from .modeling_outputs import AudioSeparationOutput, record_hidden_states
from .saving import SelfContainedModel


def fourier_features(num_bins: int, num_frames: int, num_frequencies: int, like: torch.Tensor) -> torch.Tensor:
    """
    Fourier features of every cell of a grid -> (num_bins, num_frames, 4 * num_frequencies), dtype and device of `like`.

    The coordinates of the cells' centres in [-1, 1] * pi are multiplied by 2 ** i. The ends themselves, -pi and pi, have equal
    sines and cosines, which would make the lowest and the highest bin indistinguishable. Computed in each call instead of
    stored as a buffer, because `from_pretrained` leaves non-persistent buffers uninitialized.
    """
    frequencies = 2.0 ** torch.arange(num_frequencies, dtype=torch.float32, device=like.device)
    axes = []
    for size in (num_bins, num_frames):
        centres = (2 * torch.arange(size, dtype=torch.float32, device=like.device) + 1) / size - 1
        angles = math.pi * centres[:, None] * frequencies
        axes.append(torch.cat([angles.sin(), angles.cos()], dim=-1))
    by_bin = axes[0][:, None].expand(-1, num_frames, -1)
    by_frame = axes[1][None].expand(num_bins, -1, -1)
    return torch.cat([by_bin, by_frame], dim=-1).to(like.dtype)


class AudioSlotsResNetBlock(GradientCheckpointingLayer):
    """Two 3 x 3 convolutions with group normalization and a shortcut: the basic block of ResNet-34."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, config: AudioSlotsConfig):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.GroupNorm(config.num_groups, out_channels, eps=config.layer_norm_eps)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.GroupNorm(config.num_groups, out_channels, eps=config.layer_norm_eps)
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)
            self.shortcut_norm = nn.GroupNorm(config.num_groups, out_channels, eps=config.layer_norm_eps)
        else:
            self.shortcut, self.shortcut_norm = nn.Identity(), nn.Identity()

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        residual = self.shortcut_norm(self.shortcut(hidden_states))
        hidden_states = self.norm1(self.conv1(hidden_states)).relu()
        hidden_states = self.norm2(self.conv2(hidden_states))
        return (hidden_states + residual).relu()


class AudioSlotsEncoder(nn.Module):
    """ResNet-34 with a stride-1 root and no pooling: 256 x 64 cells -> 32 x 8 positions (paper, section 2)."""

    def __init__(self, config: AudioSlotsConfig):
        super().__init__()
        self.config = config
        hidden_size = config.encoder_hidden_sizes[0]
        self.root = nn.Conv2d(1, hidden_size, 3, padding=1, bias=False)
        self.norm = nn.GroupNorm(config.num_groups, hidden_size, eps=config.layer_norm_eps)
        self.blocks = nn.ModuleList()
        for size, depth, stride in zip(
            config.encoder_hidden_sizes, config.encoder_depths, config.encoder_strides, strict=True
        ):
            for index in range(depth):
                self.blocks.append(AudioSlotsResNetBlock(hidden_size, size, stride if index == 0 else 1, config))
                hidden_size = size
        self.layer_norm = nn.LayerNorm(hidden_size, eps=config.layer_norm_eps)
        self.position_proj = nn.Linear(4 * config.num_fourier_frequencies, hidden_size)

    def embed(self, input_features: torch.Tensor) -> torch.Tensor:
        """(batch_size, num_bins, num_frames) -> (batch_size, encoder_hidden_sizes[0], num_bins, num_frames)"""
        return self.norm(self.root(input_features[:, None])).relu()

    def forward(self, input_features: torch.Tensor) -> torch.Tensor:
        """(batch_size, num_bins, num_frames) -> (batch_size, num_positions, hidden_size)"""
        hidden_states = self.embed(input_features)
        for block in self.blocks:
            hidden_states = block(hidden_states)
        _, _, num_rows, num_columns = hidden_states.shape
        positions = fourier_features(num_rows, num_columns, self.config.num_fourier_frequencies, like=hidden_states)
        # (batch_size, hidden_size, num_rows, num_columns) -> (batch_size, num_rows * num_columns, hidden_size)
        # normalized first: the sum over all residual blocks would otherwise dominate the positions
        hidden_states = self.layer_norm(hidden_states.flatten(2).transpose(1, 2))
        return hidden_states + self.position_proj(positions.flatten(0, 1))


def eager_attention_forward(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs: Unpack[TransformersKwargs],
) -> tuple[torch.Tensor, torch.Tensor]:
    attention_weights = torch.matmul(query, key.transpose(2, 3)) * scaling
    if attention_mask is not None:
        attention_weights = attention_weights + attention_mask
    attention_weights = nn.functional.softmax(attention_weights, dim=-1, dtype=torch.float32).to(query.dtype)
    attention_weights = nn.functional.dropout(attention_weights, p=dropout, training=module.training)
    attention_output = torch.matmul(attention_weights, value).transpose(1, 2).contiguous()
    return attention_output, attention_weights


class AudioSlotsAttention(nn.Module):
    """Multi-head attention from the slots to one context, used as keys and as values (paper, section 2)."""

    is_causal = False

    def __init__(self, config: AudioSlotsConfig, context_size: int):
        super().__init__()
        self.config = config
        self.head_dim = config.head_dim
        self.scaling = self.head_dim**-0.5
        attention_size = config.num_attention_heads * self.head_dim
        self.q_proj = nn.Linear(config.hidden_size, attention_size)
        # without a bias: softmax over the keys cancels a term that all keys share
        self.k_proj = nn.Linear(context_size, attention_size, bias=False)
        self.v_proj = nn.Linear(context_size, attention_size)
        self.o_proj = nn.Linear(attention_size, config.hidden_size)

    def forward(
        self, slots: torch.Tensor, context: torch.Tensor, **kwargs: Unpack[TransformersKwargs]
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """(batch_size, num_slots, hidden_size), (batch_size, num_positions, context_size) -> slots, attention weights"""
        batch_size, num_slots, _ = slots.shape
        # (batch_size, num_heads, num_slots or num_positions, head_dim)
        query = self.q_proj(slots).view(batch_size, num_slots, -1, self.head_dim).transpose(1, 2)
        key = self.k_proj(context).view(batch_size, context.shape[1], -1, self.head_dim).transpose(1, 2)
        value = self.v_proj(context).view(batch_size, context.shape[1], -1, self.head_dim).transpose(1, 2)

        attention_interface: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        attention_output, attention_weights = attention_interface(
            self, query, key, value, None, dropout=0.0, scaling=self.scaling, **kwargs
        )
        attention_output = attention_output.reshape(batch_size, num_slots, -1)
        return self.o_proj(attention_output), attention_weights


class AudioSlotsMLP(nn.Module):
    def __init__(self, config: AudioSlotsConfig):
        super().__init__()
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size)
        self.act_fn = ACT2FN[config.hidden_act]
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.down_proj(self.act_fn(self.up_proj(hidden_states)))


class AudioSlotsLayer(GradientCheckpointingLayer):
    """An update of the slots: what the layers of both slot modules are, so that their hidden states are recorded."""


class AudioSlotsTransformerLayer(AudioSlotsLayer):
    """Self-attention among the slots first, then cross-attention to the encoded mixture (paper, section 2)."""

    def __init__(self, config: AudioSlotsConfig, encoded_size: int):
        super().__init__()
        self.self_attn_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.self_attn = AudioSlotsAttention(config, context_size=config.hidden_size)
        self.cross_attn_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.cross_attn = AudioSlotsAttention(config, context_size=encoded_size)
        self.mlp_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = AudioSlotsMLP(config)

    def forward(
        self, hidden_states: torch.Tensor, encoded: torch.Tensor, **kwargs: Unpack[TransformersKwargs]
    ) -> torch.Tensor:
        normalized = self.self_attn_layer_norm(hidden_states)
        hidden_states = hidden_states + self.self_attn(normalized, normalized, **kwargs)[0]
        normalized = self.cross_attn_layer_norm(hidden_states)
        hidden_states = hidden_states + self.cross_attn(normalized, encoded, **kwargs)[0]
        return hidden_states + self.mlp(self.mlp_layer_norm(hidden_states))


class AudioSlotsSlotAttentionLayer(AudioSlotsLayer):
    """
    One iteration of multi-head Slot Attention (Locatello et al., arXiv 2006.15055).

    A residual update replaces the GRU, which would have 100M parameters for the paper's 4096-dimensional slots.
    """

    def __init__(self, config: AudioSlotsConfig, encoded_size: int):
        super().__init__()
        self.head_dim = config.head_dim
        attention_size = config.num_attention_heads * self.head_dim
        # without a bias: softmax over the slots cancels a term that all slots share
        self.slot_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps, bias=False)
        self.q_proj = nn.Linear(config.hidden_size, attention_size, bias=False)
        self.k_proj = nn.Linear(encoded_size, attention_size)
        self.v_proj = nn.Linear(encoded_size, attention_size)
        self.o_proj = nn.Linear(attention_size, config.hidden_size)
        self.mlp_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = AudioSlotsMLP(config)

    def forward(
        self, hidden_states: torch.Tensor, encoded: torch.Tensor, **kwargs: Unpack[TransformersKwargs]
    ) -> torch.Tensor:
        batch_size, num_slots, _ = hidden_states.shape
        normalized = self.slot_layer_norm(hidden_states)
        # (batch_size, num_heads, num_slots or num_positions, head_dim)
        query = self.q_proj(normalized).view(batch_size, num_slots, -1, self.head_dim).transpose(1, 2)
        key = self.k_proj(encoded).view(batch_size, encoded.shape[1], -1, self.head_dim).transpose(1, 2)
        value = self.v_proj(encoded).view(batch_size, encoded.shape[1], -1, self.head_dim).transpose(1, 2)
        # the slots compete for each position: softmax over the queries, which no attention interface supports
        scores = torch.matmul(query, key.transpose(2, 3)) * self.head_dim**-0.5
        weights = nn.functional.softmax(scores, dim=2, dtype=torch.float32)
        weights = (weights / weights.sum(dim=-1, keepdim=True).clamp(min=1e-8)).to(query.dtype)
        updates = torch.matmul(weights, value).transpose(1, 2).reshape(batch_size, num_slots, -1)
        hidden_states = hidden_states + self.o_proj(updates)
        return hidden_states + self.mlp(self.mlp_layer_norm(hidden_states))


class AudioSlotsDecoder(nn.Module):
    """
    Spatial broadcast decoder: one network maps each pair of a slot and a cell to a compressed magnitude (paper, section 2).

    Its first layer on [slot; position] equals `slot_proj(slot) + position_proj(position)`. So each part is computed once,
    and the grid of num_bins x num_frames x (hidden_size + position size) is never built.
    """

    def __init__(self, config: AudioSlotsConfig):
        super().__init__()
        self.config = config
        width = config.decoder_hidden_size
        self.slot_proj = nn.Linear(config.hidden_size, width)
        self.position_proj = nn.Linear(4 * config.num_fourier_frequencies, width, bias=False)
        self.map_proj = None
        # CODEPATH: "slots" is the paper's decoder, of all configs and checkpoints; "slots_and_map" is the comparison that
        # measures the cost of its bottleneck, training/results/benchmarks/broadcast-decoder.md
        if config.decoder_inputs == "slots_and_map":
            self.map_proj = nn.Linear(config.encoder_hidden_sizes[0], width, bias=False)
        self.layers = nn.ModuleList([nn.Linear(width, width) for _ in range(config.decoder_num_layers - 2)])
        self.out_proj = nn.Linear(width, 1)

    def forward(self, slots: torch.Tensor, embedded: torch.Tensor | None = None) -> torch.Tensor:
        """
        (batch_size, num_slots, hidden_size) and, for a decoder with a map, (batch_size, encoder_hidden_sizes[0], num_bins,
        num_frames) -> (batch_size, num_slots, num_bins, num_frames)
        """
        num_bins, num_frames = self.config.num_bins, self.config.num_frames
        positions = fourier_features(num_bins, num_frames, self.config.num_fourier_frequencies, like=slots)
        cells = self.position_proj(positions.flatten(0, 1))
        if self.map_proj is not None:
            # (batch_size, 1, num_bins * num_frames, width)
            cells = cells + self.map_proj(embedded.flatten(2).transpose(1, 2)).unsqueeze(1)
        # (batch_size, num_slots, 1, width) + (num_bins * num_frames, width)
        hidden_states = self.slot_proj(slots).unsqueeze(2) + cells
        # in place, because no other code reads the tensor; in two dimensions, because in place on a view copies in training
        hidden_states = hidden_states.relu_().flatten(0, 2)
        for layer in self.layers:
            hidden_states = layer(hidden_states).relu_()
        return self.out_proj(hidden_states).view(*slots.shape[:2], num_bins, num_frames)


@auto_docstring
class AudioSlotsPreTrainedModel(SelfContainedModel, PreTrainedModel):
    config: AudioSlotsConfig
    base_model_prefix = "model"
    main_input_name = "input_features"
    input_modalities = ("audio",)
    supports_gradient_checkpointing = True
    # the loss is a mean over the batch: transformers' Trainer must divide it by the number of accumulated steps
    accepts_loss_kwargs = False
    # what stands in for token embeddings, where adapters let gradients begin
    _input_embed_layer = "encoder"
    _no_split_modules = ["AudioSlotsResNetBlock", "AudioSlotsTransformerLayer", "AudioSlotsSlotAttentionLayer"]
    _supports_sdpa = True
    _supports_flash_attn = True
    _can_record_outputs = {
        "hidden_states": record_hidden_states(AudioSlotsLayer),
        "attentions": OutputRecorder(AudioSlotsAttention, index=1, layer_name="cross_attn"),
    }

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, nn.Linear):
            # the default N(0, 0.02) ignores the width: preserve the variance of the input instead
            init.normal_(module.weight, std=module.in_features**-0.5)
        elif isinstance(module, nn.Conv2d):
            init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, AudioSlotsModel):
            # unit variance separates the slots from the start, like the learned queries of DETR
            init.normal_(module.queries)


@auto_docstring(custom_intro="The AudioSlots encoder and slot module: from a mixture to a set of source embeddings.")
class AudioSlotsModel(AudioSlotsPreTrainedModel):
    def __init__(self, config: AudioSlotsConfig):
        super().__init__(config)
        self.encoder = AudioSlotsEncoder(config)
        self.queries = nn.Parameter(torch.empty(config.num_slots, config.hidden_size))
        encoded_size = config.encoder_hidden_sizes[-1]
        # CODEPATH: "slot_attention" is the paper's ablation, training/configs/audioslots-slot-attention.yaml;
        # all other configs and the shipped checkpoints use "transformer"
        if config.slot_module == "transformer":
            layers = [AudioSlotsTransformerLayer(config, encoded_size) for _ in range(config.num_hidden_layers)]
        else:
            layers = [AudioSlotsSlotAttentionLayer(config, encoded_size)]
        self.layers = nn.ModuleList(layers)
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.post_init()

    @capture_outputs
    @auto_docstring
    def forward(self, input_features: torch.Tensor, **kwargs: Unpack[TransformersKwargs]) -> BaseModelOutput:
        r"""
        input_features (`torch.Tensor` of shape `(batch_size, num_bins, num_frames)`):
            Power-compressed magnitudes of the mixture, from [`AudioSlotsFeatureExtractor`].
        """
        encoded = self.encoder(input_features.to(self.queries.dtype))
        hidden_states = self.queries.expand(encoded.shape[0], -1, -1)
        for _ in range(self.config.num_iterations):
            for layer in self.layers:
                hidden_states = layer(hidden_states, encoded, **kwargs)
        return BaseModelOutput(last_hidden_state=self.layer_norm(hidden_states))


@auto_docstring(custom_intro="AudioSlots: one compressed magnitude spectrogram per source of a mixture.")
class AudioSlotsForAudioSeparation(AudioSlotsPreTrainedModel, ModelCapabilities):
    growable_fields = ("speaker_embedding_size", "decoder_inputs")
    model_class = AudioSlotsModel

    def __init__(self, config: AudioSlotsConfig):
        super().__init__(config)
        self.model = self.model_class(config)
        self.decoder = AudioSlotsDecoder(config)
        self.speaker_proj = None
        # CODEPATH: the paper and most configs use 0; audioslots-small and training/configs/audioslots-gpu.yaml
        # follow speakers from chunk to chunk
        if config.speaker_embedding_size > 0:
            self.speaker_proj = nn.Linear(config.hidden_size, config.speaker_embedding_size, bias=False)
        self.post_init()

    def start_new_parts(self, before: AudioSlotsConfig) -> set[str]:
        """
        Speaker embeddings that are absent from a checkpoint start at random: no estimate depends on them. A map that its
        decoder did not see has no weight until it is trained.
        """
        added = set()
        if before.speaker_embedding_size == 0 and self.speaker_proj is not None:
            added.add("speaker_proj.weight")
        if before.decoder_inputs == "slots" and self.decoder.map_proj is not None:
            init.zeros_(self.decoder.map_proj.weight)
            added.add("decoder.map_proj.weight")
        return added

    @can_return_tuple
    @auto_docstring
    def forward(
        self,
        input_features: torch.Tensor,
        labels: torch.Tensor | None = None,
        recording_ids: torch.Tensor | None = None,
        mixture_spectrograms: torch.Tensor | None = None,
        num_samples: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> AudioSeparationOutput:
        r"""
        input_features (`torch.Tensor` of shape `(batch_size, num_bins, num_frames)`):
            Power-compressed magnitudes of the mixture, from [`AudioSlotsFeatureExtractor`].
        labels (`torch.Tensor` of shape `(batch_size, num_slots, num_bins, num_frames)`, *optional*):
            Power-compressed magnitudes of the references, in any order.
        recording_ids (`torch.Tensor` of shape `(batch_size,)`, *optional*):
            Recording that each mixture is a chunk of. With `labels`, for a model with speaker embeddings, it adds
            [`speaker_contrastive_loss`] to the loss. All chunks of a recording must have their references in the same order.
        mixture_spectrograms (complex `torch.Tensor` of shape `(batch_size, num_bins + 1, num_frames + 1)`, *optional*):
            Not used by the model, but by `post_process_audio_separation`.
        num_samples (`torch.Tensor` of shape `(batch_size,)`, *optional*):
            Not used by the model, but by `post_process_audio_separation`.
        """
        expected = (self.config.num_bins, self.config.num_frames)
        if tuple(input_features.shape[1:]) != expected:
            raise ValueError(
                f"`input_features` has shape {tuple(input_features.shape)} but the model expects (batch_size, num_bins, "
                f"num_frames) with {expected}: use the feature extractor of the same checkpoint, or its `from_config`."
            )
        outputs: BaseModelOutput = self.model(input_features, return_dict=True, **kwargs)
        embedded = None
        if self.decoder.map_proj is not None:
            # computed again: one small convolution, less than another output of every encoder
            embedded = self.model.encoder.embed(input_features.to(outputs.last_hidden_state.dtype))
        estimates = self.decoder(outputs.last_hidden_state, embedded)
        speaker_embeddings = None
        if self.speaker_proj is not None:
            speaker_embeddings = self.speaker_proj(outputs.last_hidden_state)

        loss = None
        if labels is not None:
            loss = matched_mse(estimates, labels)
            if recording_ids is not None and speaker_embeddings is not None:
                speaker_loss = speaker_contrastive_loss(speaker_embeddings, estimates, labels, recording_ids)
                loss = loss + self.config.speaker_loss_weight * speaker_loss

        return AudioSeparationOutput(
            loss=loss,
            estimates=estimates,
            speaker_embeddings=speaker_embeddings,
            last_hidden_state=outputs.last_hidden_state,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )


__all__ = ["AudioSlotsForAudioSeparation", "AudioSlotsModel", "AudioSlotsPreTrainedModel"]
