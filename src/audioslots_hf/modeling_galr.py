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
"""PyTorch GALR model: recurrence within segments, attention across them (arXiv 2101.05014)."""

from collections.abc import Callable

import torch
from torch import nn
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs, auto_docstring
from transformers.utils.output_capturing import OutputRecorder

from .configuration_galr import GalrConfig
from .modeling_dual_path import (
    DualPathForAudioSeparation,
    DualPathModel,
    DualPathPreTrainedModel,
    DualPathRecurrentBlock,
    sinusoidal_positions,
)


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


class GalrAttention(nn.Module):
    """Multi-head self-attention along the segments."""

    is_causal = False

    def __init__(self, config: GalrConfig):
        super().__init__()
        self.config = config
        self.head_dim = config.head_dim
        self.scaling = self.head_dim**-0.5
        self.q_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.k_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.v_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.o_proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(
        self, hidden_states: torch.Tensor, **kwargs: Unpack[TransformersKwargs]
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """(num_sequences, num_segments, hidden_size) -> same, attention weights"""
        # (num_sequences, num_heads, num_segments, head_dim)
        query = self.q_proj(hidden_states).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
        key = self.k_proj(hidden_states).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
        value = self.v_proj(hidden_states).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)

        attention_interface: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        attention_output, attention_weights = attention_interface(
            self, query, key, value, None, dropout=0.0, scaling=self.scaling, **kwargs
        )
        return self.o_proj(attention_output.flatten(2)), attention_weights


class GalrFrameProjection(nn.Module):
    """
    A linear map along the first dimension, as one matrix product without a transposition.

    Not an `nn.Linear`, because replacements of that layer, such as adapters, map the last dimension.
    """

    def __init__(self, in_features: int, out_features: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.bias = nn.Parameter(torch.empty(out_features))

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """(in_features, ...) -> (out_features, ...)"""
        mapped = torch.addmm(self.bias.unsqueeze(1), self.weight, frames.flatten(1))
        return mapped.view(-1, *frames.shape[1:])


class GalrAttentiveBlock(nn.Module):
    """
    Self-attention across the segments on a summary of each (paper, section 2.3).

    A linear map reduces the `segment_length` frames of a segment to `summary_length`, so the attention runs over fewer
    sequences; another map restores them.
    """

    def __init__(self, config: GalrConfig):
        super().__init__()
        self.summary_proj = GalrFrameProjection(config.segment_length, config.summary_length)
        self.attention_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.attention = GalrAttention(config)
        self.dropout = nn.Dropout(config.dropout)
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.frame_proj = GalrFrameProjection(config.summary_length, config.segment_length)

    def forward(self, hidden_states: torch.Tensor, **kwargs: Unpack[TransformersKwargs]) -> torch.Tensor:
        """(segment_length, batch_size, num_segments, hidden_size) -> same"""
        summary = self.attention_layer_norm(self.summary_proj(hidden_states))
        summary = summary + sinusoidal_positions(summary.shape[2], like=summary)
        # (summary_length, batch_size, num_segments, hidden_size) -> (summary_length * batch_size, ...)
        attended = self.attention(summary.flatten(0, 1), **kwargs)[0]
        summary = self.layer_norm(summary + self.dropout(attended).view_as(summary))
        return hidden_states + self.frame_proj(summary)

    @torch.no_grad()
    def silence(self) -> None:
        """Make the block an identity until it is trained: adding it does not change the output of a model."""
        self.frame_proj.weight.zero_()
        self.frame_proj.bias.zero_()


class GalrLayer(GradientCheckpointingLayer):
    """Locally recurrent, globally attentive (paper, section 2.2)."""

    def __init__(self, config: GalrConfig):
        super().__init__()
        self.local_block = DualPathRecurrentBlock(config)
        self.global_block = GalrAttentiveBlock(config)

    def forward(self, hidden_states: torch.Tensor, **kwargs: Unpack[TransformersKwargs]) -> torch.Tensor:
        """(segment_length, batch_size, num_segments, hidden_size) -> same"""
        return self.global_block(self.local_block(hidden_states), **kwargs)


@auto_docstring
class GalrPreTrainedModel(DualPathPreTrainedModel):
    config: GalrConfig
    _no_split_modules = ["GalrLayer"]
    _supports_sdpa = True
    _supports_flash_attn = True
    _can_record_outputs = {
        "hidden_states": GalrLayer,
        "attentions": OutputRecorder(GalrAttention, index=1),
    }

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, GalrFrameProjection):
            # the initialization of PyTorch's linear layer
            bound = module.weight.shape[1] ** -0.5
            init.uniform_(module.weight, -bound, bound)
            init.uniform_(module.bias, -bound, bound)


@auto_docstring(custom_intro="GALR without its masks: from a mixture to one vector per frame.")
class GalrModel(GalrPreTrainedModel, DualPathModel):
    layer_class = GalrLayer


@auto_docstring(custom_intro="GALR: one waveform per source of a mixture.")
class GalrForAudioSeparation(GalrPreTrainedModel, DualPathForAudioSeparation):
    model_class = GalrModel


__all__ = ["GalrForAudioSeparation", "GalrModel", "GalrPreTrainedModel"]
