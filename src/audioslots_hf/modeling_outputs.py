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
"""Output shared by every separation family."""

from dataclasses import dataclass

import torch
from torch import nn
from transformers.utils import ModelOutput, auto_docstring
from transformers.utils.output_capturing import OutputRecorder


@auto_docstring(custom_intro="Output of every `ForAudioSeparation` model.")
@dataclass
class AudioSeparationOutput(ModelOutput):
    r"""
    loss (`torch.Tensor` of shape `()`, *optional*, returned when `labels` is provided):
        Permutation-invariant loss, with the references in the order that fits the estimates best.
    estimates (`torch.Tensor` of shape `(batch_size, num_sources, ...)`):
        One estimate per source in the model's own domain (AudioSlots: compressed magnitudes of shape
        `(num_bins, num_frames)`). The feature extractor's `post_process_audio_separation` turns them into waveforms.
    speaker_embeddings (`torch.Tensor` of shape `(batch_size, num_sources, speaker_embedding_size)`, *optional*):
        Embeddings that identify the speaker of each estimate across the chunks of a recording (AudioSlots with a
        `speaker_embedding_size`).
    activity (`torch.Tensor` of shape `(batch_size, num_sources, num_frames)`, *optional*):
        Log-odds that a source sounds in a frame (SlotGALR).
    slots (`torch.Tensor` of shape `(batch_size, num_slots, hidden_size)`, *optional*):
        The slots (SlotGALR); with `sequential_slots`, the `initial_slots` of the next chunk of the recording.
    last_hidden_state (`torch.Tensor`, *optional*):
        Input of the decoder (AudioSlots: the slots, `(batch_size, num_slots, hidden_size)`).
    hidden_states (`tuple[torch.Tensor, ...]`, *optional*, returned when `output_hidden_states=True`):
        Hidden states after each layer (GALR and DPRNN: `(segment_length, batch_size, num_segments, hidden_size)`, time first).
    attentions (`tuple[torch.Tensor, ...]`, *optional*, returned when `output_attentions=True`):
        Attention weights of each layer, for a model loaded with `attn_implementation="eager"`: fused attention returns none.
        Empty for Slot Attention, which iterates a single layer; `None` for DPRNN.
    """

    loss: torch.Tensor | None = None
    estimates: torch.Tensor | None = None
    speaker_embeddings: torch.Tensor | None = None
    activity: torch.Tensor | None = None
    slots: torch.Tensor | None = None
    last_hidden_state: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


def record_hidden_states(layer_class: type[nn.Module]) -> OutputRecorder:
    """Hidden states of all layers of a class, of which a configuration has `num_recorded_layers`."""
    recorder = OutputRecorder(layer_class)
    # with it, `output_hidden_states=[-1]` finds the last layer; transformers 5.17 takes no such argument
    recorder.num_hidden_layers_key = "num_recorded_layers"
    return recorder


__all__ = ["AudioSeparationOutput", "record_hidden_states"]
