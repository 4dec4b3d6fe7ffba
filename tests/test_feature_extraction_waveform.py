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
import numpy as np
import pytest
import torch

from audioslots_hf import AudioSeparationOutput, GalrConfig, WaveformFeatureExtractor


@pytest.fixture
def feature_extractor():
    return WaveformFeatureExtractor(chunk_length=8000)


def test_mixtures_come_at_unit_level_and_references_at_theirs(feature_extractor):
    references = 0.01 * torch.randn(3, 2, 8000, generator=torch.Generator().manual_seed(0))
    features = feature_extractor(references.sum(dim=1), sampling_rate=16000, labels=references)
    torch.testing.assert_close(features["input_values"].square().mean(dim=-1), torch.ones(3))
    torch.testing.assert_close(features["labels"].sum(dim=1), features["input_values"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("num_samples", [8000, 7999, 1])
def test_inputs_have_unit_level_and_outputs_their_own(feature_extractor, num_samples):
    references = 100 * torch.randn(1, 2, num_samples, generator=torch.Generator().manual_seed(0))
    features = feature_extractor(references.sum(dim=1), sampling_rate=16000, labels=references)
    assert features["labels"].shape == (1, 2, 8000)
    restored = feature_extractor.post_process_audio_separation(
        AudioSeparationOutput(estimates=features["labels"]), features
    )
    torch.testing.assert_close(restored, references, atol=1e-4, rtol=1e-5)


def test_shorter_mixtures_of_a_batch_end_in_zeros(feature_extractor):
    features = feature_extractor([np.ones(10), np.ones(30)], sampling_rate=16000)
    assert features["num_samples"].tolist() == [10, 30]
    # the level counts the samples of the audio, not the zeros behind it
    assert features["input_values"][0, :10].tolist() == [1.0] * 10 and not features["input_values"][0, 10:].any()
    restored = feature_extractor.post_process_audio_separation(
        AudioSeparationOutput(estimates=torch.ones(2, 2, 8000)), features
    )
    assert restored.shape == (2, 2, 30)
    assert restored[0, 0].sum() == 10


def test_int16_is_scaled_by_its_range(feature_extractor):
    pcm = np.random.default_rng(0).integers(-20000, 20000, 8000).astype(np.int16)
    features = feature_extractor(pcm, sampling_rate=16000)
    torch.testing.assert_close(
        features["input_values"][0] * features["levels"], torch.from_numpy(pcm / 32768).float(), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize(
    ("audio", "kwargs", "message"),
    [
        (np.zeros(8000), {"sampling_rate": 44100}, "44100 Hz but the model works at 16000 Hz"),
        (np.zeros(0), {}, "empty"),
        (np.full(10, np.nan), {}, "10 NaN or infinite"),
        (np.zeros(8001), {}, "8001 samples but the model takes at most 8000"),
        (np.zeros(10), {"labels": np.zeros((2, 9))}, "has 9 samples but its mixture 10"),
        (np.zeros(10), {"return_tensors": "np"}, "only 'pt'"),
    ],
)
def test_bad_input_is_named(feature_extractor, audio, kwargs, message):
    with pytest.raises(ValueError, match=message):
        feature_extractor(audio, **kwargs)


def test_it_fits_a_models_configuration():
    feature_extractor = WaveformFeatureExtractor.from_config(GalrConfig(sampling_rate=8000, chunk_length=32000))
    assert (feature_extractor.sampling_rate, feature_extractor.chunk_length) == (8000, 32000)
