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
"""PyTorch ensemble of voice encoders: one embedding, which joins those of encoders that make different errors."""

import torch
from torch import nn
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs, auto_docstring, can_return_tuple

from .configuration_voice_ensemble import VoiceEncoderEnsembleConfig
from .modeling_voice_encoder import VoiceEncoderModel, VoiceEncoderOutput, VoiceEncoderPreTrainedModel


@auto_docstring
class VoiceEncoderEnsemblePreTrainedModel(VoiceEncoderPreTrainedModel):
    config: VoiceEncoderEnsembleConfig
    base_model_prefix = "voice_encoder_ensemble"
    _input_embed_layer = "encoders"


@auto_docstring(
    custom_intro="""
    An ensemble of voice encoders, used as one encoder. The cosine of two embeddings is the mean of the cosines of its encoders.
    """
)
class VoiceEncoderEnsembleModel(VoiceEncoderEnsemblePreTrainedModel):
    def __init__(self, config: VoiceEncoderEnsembleConfig):
        super().__init__(config)
        self.encoders = nn.ModuleList(VoiceEncoderModel(encoder) for encoder in config.encoder_configs)
        self.post_init()

    @can_return_tuple
    @auto_docstring
    def forward(
        self,
        input_values: torch.Tensor,
        frame_weights: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> VoiceEncoderOutput:
        r"""
        input_values (`torch.Tensor` of shape `(batch_size, num_samples)`):
            Speech of one voice each, at `config.sampling_rate`. The level makes no difference.
        frame_weights (`torch.Tensor` of shape `(batch_size, num_frames)`, *optional*):
            Weight of each frame, from 0 to 1, as for [`VoiceEncoderModel`]. By default all frames count.
        """
        kwargs.setdefault("output_hidden_states", self.config.output_hidden_states)
        outputs = [encoder(input_values, frame_weights, **kwargs) for encoder in self.encoders]
        embeddings = torch.cat([output.embeddings for output in outputs], dim=-1) / len(outputs) ** 0.5
        # those of one encoder after the other; indices count the layers of each
        hidden_states = sum((output.hidden_states or () for output in outputs), start=())
        return VoiceEncoderOutput(embeddings=embeddings, hidden_states=hidden_states or None)


__all__ = ["VoiceEncoderEnsembleModel", "VoiceEncoderEnsemblePreTrainedModel"]
