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
from tests.common import FamilyVariant, SeparationContracts
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


class TestSlotGalrWithSlotAttention(FamilyVariant, TestSlotGalr):
    num_sources = 3

    def make_config(self, **overrides):
        return super().make_config(**({"slot_module": "slot_attention"} | overrides))


class TestSlotGalrWithSequentialSlots(FamilyVariant, TestSlotGalr):
    # the chunks of a recording follow each other in a loop that depends on the values of `recording_ids`
    test_compiled_gives_the_eager_result = None

    def make_config(self, **overrides):
        return super().make_config(**({"sequential_slots": True} | overrides))

    @pytest.fixture
    def model(self):
        return trained_model(self.make_config())

    @pytest.fixture
    def features(self, feature_extractor, references):
        features = feature_extractor(references.sum(dim=1), sampling_rate=8000, labels=references)
        # three chunks of one recording
        return features | {"recording_ids": torch.zeros(3, dtype=torch.long)}

    def test_exported_gives_the_eager_result(self, model, features):
        # an exported model separates every chunk by itself
        features.pop("recording_ids")
        super().test_exported_gives_the_eager_result(model, features)

    def test_sequential_slots_that_a_checkpoint_lacks_change_nothing_until_they_are_trained(self, features):
        torch.manual_seed(0)
        plain = self.model_class(self.make_config(sequential_slots=False)).eval()
        grown = self.model_class(self.make_config())
        added = grown.start_new_parts(plain.config)
        missing, unexpected = grown.load_state_dict(plain.state_dict(), strict=False)
        assert set(missing) == added == {"model.slots.previous_proj.weight"} and not unexpected
        expected = plain(features["input_values"]).estimates
        assert torch.equal(grown.eval()(features["input_values"]).estimates, expected)
        # chunks that follow each other are batches of their own, which sum in another order
        torch.testing.assert_close(grown(**features).estimates, expected, atol=1e-5, rtol=0)

    def test_chunks_of_recordings_in_one_batch_follow_each_other_as_one_by_one(self, model, feature_extractor):
        mixtures = torch.randn(5, 800, generator=torch.Generator().manual_seed(1))
        recording_ids = torch.tensor([7, 3, 7, 7, 3])
        batch = feature_extractor(mixtures, sampling_rate=8000)
        together = model(**batch, recording_ids=recording_ids)
        for rows in ([0, 2, 3], [1, 4]):
            slots = None
            for row in rows:
                features = feature_extractor(mixtures[row], sampling_rate=8000)
                outputs = model(**features, initial_slots=slots)
                slots = outputs.slots
                # other batch sizes sum in another order
                torch.testing.assert_close(outputs.estimates[0], together.estimates[row], atol=1e-5, rtol=0)
                torch.testing.assert_close(slots[0], together.slots[row], atol=1e-5, rtol=0)
        alone = model(**batch).estimates
        assert (alone - together.estimates)[[2, 3, 4]].abs().amax(dim=(1, 2)).min() > 1e-2

    def test_silence_keeps_the_slots(self, model, feature_extractor):
        sound = torch.randn(1, 800, generator=torch.Generator().manual_seed(1))
        outputs = [model(**feature_extractor(audio, sampling_rate=8000)) for audio in (sound, 0 * sound)]
        assert not outputs[1].slots.any()
        silent = feature_extractor(torch.zeros(2, 800), sampling_rate=8000)
        slots = outputs[0].slots.expand(2, -1, -1)
        assert torch.equal(model(**silent, initial_slots=slots).slots, slots)

    def test_the_loss_has_one_order_for_a_recording(self, model, features):
        losses = []
        for rows in ([], [1], [0, 1, 2]):
            labels = features["labels"].clone()
            labels[rows] = labels[rows].flip(1)
            losses.append(model(**(features | {"labels": labels})).loss)
        torch.testing.assert_close(losses[2], losses[0], atol=1e-5, rtol=0)
        assert abs(losses[1] - losses[0]) > 1e-3

    def test_recordings_of_different_lengths_have_no_loss(self, model, features):
        with pytest.raises(ValueError, match=r"recording_ids.*\[2, 1\] chunks"):
            model(**(features | {"recording_ids": torch.tensor([0, 0, 1])}))

    def test_other_models_take_no_slots(self, feature_extractor):
        model = self.model_class(self.make_config(sequential_slots=False))
        with pytest.raises(ValueError, match="initial_slots.*sequential_slots"):
            model(**feature_extractor(torch.ones(800), sampling_rate=8000), initial_slots=torch.zeros(1, 2, 16))


def trained_model(config):
    """A random model in which every chunk depends on the one before."""
    torch.manual_seed(0)
    model = SlotGalrForAudioSeparation(config).eval()
    torch.nn.init.normal_(model.model.slots.previous_proj.weight, std=0.5)
    return model


def test_the_default_has_fewer_than_three_million_parameters():
    with torch.device("meta"):
        assert SlotGalrForAudioSeparation(SlotGalrConfig()).num_parameters() == 1_607_937
