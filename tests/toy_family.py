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
"""The smallest family there can be: it learns how loud each source is, and each estimate is the mixture at that level."""

import torch
from huggingface_hub.dataclasses import strict
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers import initialization as init

from audioslots_hf.capabilities import ConfigCapabilities, ModelCapabilities
from audioslots_hf.losses import matched_negative_si_snr
from audioslots_hf.modeling_outputs import AudioSeparationOutput
from audioslots_hf.saving import SelfContainedModel


@strict
class ToyConfig(PreTrainedConfig, ConfigCapabilities):
    model_type = "toy"

    sampling_rate: int = 16000
    chunk_length: int = 8000
    num_sources: int = 2


class ToyPreTrainedModel(SelfContainedModel, PreTrainedModel):
    config: ToyConfig
    main_input_name = "input_values"

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, ToyModel):
            init.normal_(module.levels)


class ToyModel(ToyPreTrainedModel):
    def __init__(self, config: ToyConfig):
        super().__init__(config)
        self.levels = nn.Parameter(torch.empty(config.num_sources, 1))
        self.post_init()

    def forward(self, input_values: torch.Tensor) -> torch.Tensor:
        return self.levels.softmax(dim=0) * input_values.unsqueeze(1)


class ToyForAudioSeparation(ToyPreTrainedModel, ModelCapabilities):
    model_class = ToyModel

    def __init__(self, config: ToyConfig):
        super().__init__(config)
        self.model = ToyModel(config)
        self.post_init()

    def forward(
        self, input_values: torch.Tensor, labels: torch.Tensor | None = None, **kwargs: object
    ) -> AudioSeparationOutput:
        estimates = self.model(input_values)
        loss = None if labels is None else matched_negative_si_snr(estimates, labels)
        return AudioSeparationOutput(loss=loss, estimates=estimates)
