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
"""PyTorch DPRNN model: recurrence within segments and across them (arXiv 1910.06379)."""

import torch
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs, auto_docstring

from .configuration_dprnn import DprnnConfig
from .modeling_dual_path import (
    DualPathForAudioSeparation,
    DualPathModel,
    DualPathPreTrainedModel,
    DualPathRecurrentBlock,
)


class DprnnLayer(GradientCheckpointingLayer):
    """A recurrent block along the frames of a segment, then one along the segments (paper, section 2.2)."""

    def __init__(self, config: DprnnConfig):
        super().__init__()
        self.local_block = DualPathRecurrentBlock(config)
        self.global_block = DualPathRecurrentBlock(config)

    def forward(self, hidden_states: torch.Tensor, **kwargs: Unpack[TransformersKwargs]) -> torch.Tensor:
        """(segment_length, batch_size, num_segments, hidden_size) -> same"""
        hidden_states = self.local_block(hidden_states)
        # (segment_length, batch_size, num_segments, hidden_size) -> (num_segments, batch_size, segment_length, hidden_size)
        hidden_states = self.global_block(hidden_states.transpose(0, 2).contiguous())
        return hidden_states.transpose(0, 2).contiguous()


@auto_docstring
class DprnnPreTrainedModel(DualPathPreTrainedModel):
    config: DprnnConfig
    _no_split_modules = ["DprnnLayer"]
    _can_record_outputs = {"hidden_states": DprnnLayer}


@auto_docstring(custom_intro="DPRNN without its masks: from a mixture to one vector per frame.")
class DprnnModel(DprnnPreTrainedModel, DualPathModel):
    layer_class = DprnnLayer


@auto_docstring(custom_intro="DPRNN: one waveform per source of a mixture.")
class DprnnForAudioSeparation(DprnnPreTrainedModel, DualPathForAudioSeparation):
    model_class = DprnnModel


__all__ = ["DprnnForAudioSeparation", "DprnnModel", "DprnnPreTrainedModel"]
