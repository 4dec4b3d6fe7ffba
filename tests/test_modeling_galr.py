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
import pytest
import torch

from audioslots_hf import GalrConfig, GalrForAudioSeparation
from tests.common import FamilyVariant, SeparationContracts
from tests.conftest import INVALID_DUAL_PATH, TINY_DUAL_PATH, tiny_waveform_feature_extractor


class TestGalr(SeparationContracts):
    config_class = GalrConfig
    model_class = GalrForAudioSeparation
    invalid_configs = [
        *INVALID_DUAL_PATH,
        {"num_attention_heads": 3},
        {"dropout": 1.0},
        {"dropout": -0.1},
        {"summary_length": 0},
    ]

    def make_config(self, **overrides):
        return GalrConfig(
            **(
                {**TINY_DUAL_PATH, "summary_length": 4, "num_attention_heads": 2, "num_sources": self.num_sources}
                | overrides
            )
        )

    def make_feature_extractor(self):
        return tiny_waveform_feature_extractor()

    def is_idle(self, name):
        # softmax cancels a term that all keys share, and layer norm a term that all features share
        return name.endswith(("attention.k_proj.bias", "summary_proj.bias"))

    def test_attentions_are_recorded_over_the_segments(self, features):
        model = self.model_class(self.make_config()).eval()
        model.set_attn_implementation("eager")
        attentions = model(**features, output_attentions=True).attentions
        # 201 frames in halves of 5, and one half of zeros before and behind: 42 segments, 3 mixtures of 4 summary frames
        assert [tuple(weights.shape) for weights in attentions] == [(12, 2, 42, 42)] * 2

    def test_hidden_states_have_one_layout(self, model, features):
        hidden_states = model(**features, output_hidden_states=True).hidden_states
        assert [tuple(state.shape) for state in hidden_states] == [(10, 3, 42, 8)] * 3

    def test_sdpa_equals_eager_attention(self, model, features):
        expected = model(**features).estimates
        model.set_attn_implementation("eager")
        torch.testing.assert_close(model(**features).estimates, expected, atol=1e-5, rtol=0)


class TestGalrWithThreeSources(FamilyVariant, TestGalr):
    num_sources = 3


@pytest.mark.parametrize(("hidden_size", "expected"), [(64, 1_450_777), (128, 2_293_017)])
def test_published_sizes_have_the_published_parameters(hidden_size, expected):
    """Small and large of the paper: M = 16, K = 100, Q = 32, H = 128, N = 6, J = 8."""
    config = GalrConfig(
        hidden_size=hidden_size,
        encoder_kernel_size=16,
        segment_length=100,
        summary_length=32,
        lstm_hidden_size=128,
        num_hidden_layers=6,
        num_attention_heads=8,
    )
    with torch.device("meta"):
        assert GalrForAudioSeparation(config).num_parameters() == expected
