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

from audioslots_hf import SlotGalrConfig, SlotGalrForAudioSeparation
from tests.common import SeparationContracts
from tests.conftest import tiny_waveform_feature_extractor


TINY = {
    "sampling_rate": 8000,
    "chunk_length": 800,
    "n_fft": 64,
    "hop_length": 20,
    "band_widths": [2, 4],
    "num_bands_per_width": [8, 4],
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "head_dim": 8,
    "intermediate_size": 16,
    "map_hidden_size": 8,
    "map_intermediate_size": 12,
    "map_num_attention_heads": 2,
    "num_map_layers": 2,
    "num_source_layers": 1,
}


class TestSlotGalr(SeparationContracts):
    config_class = SlotGalrConfig
    model_class = SlotGalrForAudioSeparation
    invalid_configs = [
        {"num_slots": 1},
        {"slot_module": "lstm"},
        {"band_kernel_size": 4},
        {"frame_kernel_size": 2},
        {"map_num_attention_heads": 3},
        {"compression_exponent": 0.0},
        {"layer_norm_eps": 0.0},
        {"activity_loss_weight": -1.0},
        {"hop_length": 40},
        {"chunk_length": 801},
        {"band_widths": [2, 3]},
        {"num_bands_per_width": [8]},
        {"map_hidden_size": "16"},
    ]

    def make_config(self, **overrides):
        return SlotGalrConfig(**({**TINY, "num_slots": self.num_sources} | overrides))

    def make_feature_extractor(self):
        return tiny_waveform_feature_extractor()

    def test_activity_has_a_value_per_slot_and_frame(self, model, features):
        assert model(**features).activity.shape == (3, self.num_sources, 40)

    def test_a_silent_reference_asks_for_a_silent_estimate(self, model, feature_extractor, references):
        references[:, 1:] = 0
        features = feature_extractor(references.sum(dim=1), sampling_rate=8000, labels=references)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        for _ in range(80):
            loss = model.train()(**features).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        estimates = model.eval()(**features).estimates
        powers = estimates.square().mean(dim=-1).sort(dim=1, descending=True).values
        assert (powers[:, 1:] < 0.01 * powers[:, :1]).all()

    def test_layers_that_a_checkpoint_lacks_change_nothing_until_they_are_trained(self, model, features):
        grown = self.model_class(self.make_config(num_map_layers=3, num_source_layers=3)).eval()
        added = grown.start_new_parts(model.config)
        missing, unexpected = grown.load_state_dict(model.state_dict(), strict=False)
        assert set(missing) == added and not unexpected
        torch.testing.assert_close(grown(**features).estimates, model(**features).estimates, atol=0, rtol=0)

    def test_sdpa_equals_eager_attention(self, model, features):
        expected = model(**features).estimates
        model.set_attn_implementation("eager")
        torch.testing.assert_close(model(**features).estimates, expected, atol=1e-5, rtol=0)

    def test_any_number_of_whole_frames_is_separated(self, model):
        mixture = torch.randn(1, 580)
        assert model(mixture).estimates.shape == (1, self.num_sources, 580)
        with pytest.raises(ValueError, match="581 samples.*hop_length"):
            model(torch.randn(1, 581))


class TestSlotGalrWithSlotAttention(TestSlotGalr):
    # the files that travel, and the class that Trainer sees, are those of the family
    test_remote_code_is_exact_where_the_package_is_not_installed = None
    test_trainer_accumulates_gradients_to_those_of_the_whole_batch = None
    test_trainer_predicts_the_estimates_alone = None
    num_sources = 3

    def make_config(self, **overrides):
        return super().make_config(**({"slot_module": "slot_attention"} | overrides))


def test_the_default_has_fewer_than_three_million_parameters():
    with torch.device("meta"):
        assert SlotGalrForAudioSeparation(SlotGalrConfig()).num_parameters() == 1_607_937
