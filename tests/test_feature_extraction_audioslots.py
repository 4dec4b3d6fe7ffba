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

from audioslots_hf import AudioSeparationOutput, AudioSlotsFeatureExtractor
from tests.test_stft import snr_db


@pytest.fixture
def feature_extractor():
    return AudioSlotsFeatureExtractor()


@pytest.fixture
def mixtures():
    return 0.1 * torch.randn(2, 8000, generator=torch.Generator().manual_seed(0))


def extract(feature_extractor, audio, **kwargs):
    return feature_extractor(audio, sampling_rate=16000, return_tensors="pt", **kwargs)


def test_features_have_the_papers_shape_and_exponent(feature_extractor, mixtures):
    features = extract(feature_extractor, mixtures)
    assert features["input_features"].shape == (2, 256, 64)
    assert features["mixture_spectrograms"].shape == (2, 257, 65)
    level = mixtures[0].square().mean().sqrt()
    expected = (features["mixture_spectrograms"][0, :256, :64].abs() / level) ** 0.3
    torch.testing.assert_close(features["input_features"][0], expected)


@pytest.mark.parametrize("mask", ["wiener", "binary"])
@pytest.mark.parametrize("num_samples", [8000, 7999, 4321, 513, 1])
def test_masks_of_one_give_the_input_back(feature_extractor, mask, num_samples):
    noise = torch.randn(1, num_samples, generator=torch.Generator().manual_seed(0))
    features = extract(feature_extractor, noise)
    outputs = AudioSeparationOutput(estimates=torch.ones(1, 1, 256, 64))
    restored = feature_extractor.post_process_audio_separation(outputs, features, mask=mask)
    assert restored.shape == (1, 1, num_samples)
    assert snr_db(restored[0], noise) > 60
    for edge in (slice(0, 64), slice(-64, None)):
        assert snr_db(restored[0, :, edge], noise[:, edge]) > 60


@pytest.mark.parametrize("mask", ["wiener", "binary"])
def test_estimates_add_up_to_the_mixture(feature_extractor, mixtures, mask):
    outputs = AudioSeparationOutput(estimates=torch.randn(2, 3, 256, 64))
    estimates = feature_extractor.post_process_audio_separation(outputs, extract(feature_extractor, mixtures), mask)
    torch.testing.assert_close(estimates.sum(dim=1), mixtures, atol=1e-6, rtol=0)


def test_true_magnitudes_separate_and_exponents_act(feature_extractor):
    time_s = torch.arange(8000) / 16000
    references = torch.stack([torch.sin(2 * torch.pi * hertz * time_s) for hertz in (500.0, 3000.0)])
    features = extract(feature_extractor, references.sum(dim=0), labels=references)
    outputs = AudioSeparationOutput(estimates=features["labels"])
    ratios = [
        snr_db(
            feature_extractor.post_process_audio_separation(outputs, features, mask_exponent=exponent)[0], references
        )
        for exponent in (0.5, 1.0, 2.0)
    ]
    # two tones far apart: the sharper the mask, the less leaks
    assert ratios == sorted(ratios) and ratios[1] > 20


def test_the_mask_exponent_of_the_extractor_is_the_default(mixtures):
    soft = AudioSlotsFeatureExtractor(mask_exponent=0.5)
    features = extract(soft, mixtures)
    outputs = AudioSeparationOutput(estimates=torch.rand(2, 2, 256, 64))
    expected = AudioSlotsFeatureExtractor().post_process_audio_separation(outputs, features, mask_exponent=0.5)
    assert torch.equal(soft.post_process_audio_separation(outputs, features), expected)


@pytest.mark.parametrize("gain_db", [-40.0, -6.0, 20.0])
def test_a_gain_on_the_input_is_the_same_gain_on_the_estimates(gain_db, checkpoint):
    from transformers import AutoFeatureExtractor, AutoModel

    model, feature_extractor = AutoModel.from_pretrained(checkpoint), AutoFeatureExtractor.from_pretrained(checkpoint)
    mixture = 0.05 * torch.randn(1, 800, generator=torch.Generator().manual_seed(0))
    gain = 10 ** (gain_db / 20)
    estimates = []
    for audio in (mixture, gain * mixture):
        features = feature_extractor(audio, sampling_rate=8000)
        with torch.no_grad():
            estimates.append(feature_extractor.post_process_audio_separation(model(**features), features))
    assert snr_db(estimates[1] / gain, estimates[0]) > 80


def test_labels_are_the_references_in_the_models_domain(feature_extractor, mixtures):
    features = extract(feature_extractor, mixtures, labels=[torch.stack([m, 0.5 * m]) for m in mixtures])
    assert features["labels"].shape == (2, 2, 256, 64)
    # a reference that is the mixture has the mixture's features
    torch.testing.assert_close(features["labels"][:, 0], features["input_features"])
    torch.testing.assert_close(features["labels"][:, 1], 0.5**0.3 * features["input_features"])


def test_every_form_of_the_same_audio_gives_the_same_features(feature_extractor):
    pcm = np.random.default_rng(0).integers(-20000, 20000, 8000).astype(np.int16)
    waveform = pcm.astype(np.float32) / 32768
    expected = extract(feature_extractor, waveform)["input_features"]
    forms = [pcm, torch.from_numpy(pcm), waveform.astype(np.float64), [waveform], waveform[None], waveform.tolist()]
    forms += [torch.from_numpy(waveform), [torch.from_numpy(waveform)], waveform.astype(">f4")]
    for form in forms:
        torch.testing.assert_close(extract(feature_extractor, form)["input_features"], expected, atol=1e-5, rtol=0)


def test_silence_stays_silent(feature_extractor):
    features = extract(feature_extractor, torch.zeros(1, 8000))
    assert not features["input_features"].any()
    outputs = AudioSeparationOutput(estimates=torch.randn(1, 2, 256, 64))
    assert not feature_extractor.post_process_audio_separation(outputs, features).any()


@pytest.mark.parametrize(
    ("audio", "kwargs", "message"),
    [
        (np.zeros(8000), {"sampling_rate": 44100}, "44100 Hz but the model works at 16000 Hz"),
        (np.zeros(0), {}, "empty"),
        ([], {}, "empty"),
        (np.full(10, np.nan), {}, "10 NaN or infinite"),
        (np.array([0.0, np.inf]), {}, "1 NaN or infinite"),
        (np.zeros((1, 2, 8000)), {}, r"\(1, 2, 8000\)"),
        (np.zeros(8001), {}, "8001 samples but the model takes at most 8000"),
        (np.zeros(10, dtype=bool), {}, "bool"),
        (np.array(["a"]), {}, "not supported"),
        (np.zeros((2, 10)), {"labels": np.zeros((1, 2, 10))}, "1 sets of references for 2 mixtures"),
        (np.zeros(10), {"labels": np.zeros((2, 9))}, "has 9 samples but its mixture 10"),
        (np.zeros(10), {"return_tensors": "np"}, "only 'pt'"),
    ],
)
def test_bad_input_is_named(feature_extractor, audio, kwargs, message):
    with pytest.raises(ValueError, match=message):
        feature_extractor(audio, **kwargs)


@pytest.mark.parametrize("kwargs", [{"mask": "soft"}, {"mask_exponent": 0.0}])
def test_bad_masks_are_named(feature_extractor, mixtures, kwargs):
    outputs = AudioSeparationOutput(estimates=torch.ones(2, 2, 256, 64))
    with pytest.raises(ValueError, match=str(next(iter(kwargs.values())))):
        feature_extractor.post_process_audio_separation(outputs, extract(feature_extractor, mixtures), **kwargs)
