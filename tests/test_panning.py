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

from audioslots_hf.conversation import ConversationSeparator
from audioslots_hf.panning import RANGE_DB, are_panned, embed_panning, locate_voices, sharpen_tracks
from audioslots_hf.separator import Separator
from audioslots_hf.speakers import VoiceEvidence, find_voices, normalize
from tests.audio_helpers import noise
from tests.conversation_helpers import RATE, encode_bands, split_by_band, turns
from tests.test_conversation import DURATION_S, TURNS, level_db, tiny_separator


# amplitudes of two voices in two channels: 6 dB apart
GAINS = torch.tensor([[1.2, 0.8], [0.85, 1.15]])


@pytest.fixture
def separate_bands(monkeypatch):
    """Separates conversations of bands of noise without error, with a voice encoder."""
    monkeypatch.setattr(Separator, "separate_chunks", lambda self, chunks: split_by_band(chunks))

    def separate(recording: torch.Tensor, encoder=encode_bands):
        return ConversationSeparator(tiny_separator(), encoder, num_speakers=2).separate(recording)

    return separate


def encode_no_voice(waveforms: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Embeddings that are nearly the same, and tell nothing about the band: (num_waveforms, 8), of length 1"""
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(8, waveforms.shape[-1], generator=generator)
    signs = torch.sign(waveforms @ directions.T)
    return torch.nn.functional.normalize(1 + 0.05 * signs, dim=-1)


def pan(difference_db: float, num_samples: int = 16000) -> torch.Tensor:
    """Noise in two channels, the first of which is louder by so much: (2, num_samples)"""
    return torch.from_numpy(noise(num_samples)) * torch.tensor([[10 ** (difference_db / 20)], [1.0]])


def embed(samples: torch.Tensor, estimates: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    return embed_panning(samples, estimates, np.ones((estimates.shape[1], 50), bool), 6, 16000)


@pytest.mark.parametrize("difference_db, expected", [(4.0, {4: 1.0}), (-2.5, {-3: 0.5, -2: 0.5}), (40.0, {15: 1.0})])
def test_the_panning_of_an_estimate_is_the_share_of_its_energy_at_each_level_difference(difference_db, expected):
    samples = pan(difference_db)
    whole, windows = embed(samples, samples[:, None] * torch.tensor([[[0.5], [0.1]]]))
    shares = np.zeros(31)
    shares[[round(RANGE_DB) + place for place in expected]] = list(expected.values())
    assert whole.shape == (2, 31) and windows.shape == (6, 2, 31)
    np.testing.assert_allclose(whole**2, np.stack([shares] * 2), atol=1e-3)
    # half precision
    np.testing.assert_allclose(windows.astype(float) ** 2, np.broadcast_to(shares, (6, 2, 31)), atol=2e-3)


def test_an_estimate_has_the_panning_of_the_bins_that_it_holds():
    low, high = turns([(0, 0.0, 1.0), (1, 0.0, 1.0)], 1.0)
    samples = torch.stack([low + 0.5 * high, 0.5 * low + high])
    # the powers of an estimate may differ between the channels without changing its panning
    estimates = torch.stack([torch.stack([0.9 * low, high]), torch.stack([0.1 * low, high])])
    whole, _ = embed_panning(samples, estimates, np.ones((2, 50), bool), 6, RATE)
    assert (whole[0, [21, 22]] ** 2).sum() > 0.9 and (whole[1, [8, 9]] ** 2).sum() > 0.9


@pytest.mark.parametrize("num_channels", [1, 3])
def test_other_numbers_of_channels_than_two_have_no_panning(num_channels):
    samples = torch.from_numpy(noise(num_channels, 16000))
    whole, windows = embed(samples, samples[:, None].expand(-1, 2, -1))
    assert whole.shape == (2, 0) and windows.shape == (6, 2, 0)


def test_voices_that_sound_alike_land_on_their_own_tracks_where_they_are_panned(separate_bands):
    references = turns(TURNS, DURATION_S)
    tracks, plan = separate_bands(GAINS @ references, encode_no_voice)
    for voice, reference in enumerate(references):
        for channel in range(2):
            expected = GAINS[channel, voice] * reference
            assert level_db(tracks[channel, voice] - expected) < level_db(expected) - 12
        segments = [(start, end) for index, start, end in TURNS if index == voice]
        np.testing.assert_allclose(plan.segments[voice], segments, atol=0.25)


def test_equal_channels_have_no_panning_and_give_the_tracks_of_one_channel(separate_bands, monkeypatch):
    mixture = turns(TURNS, DURATION_S).sum(dim=0, keepdim=True)
    expected, plan = separate_bands(mixture)
    tracks, same = separate_bands(mixture.repeat(2, 1))
    np.testing.assert_array_equal(same.assignment, plan.assignment)
    np.testing.assert_array_equal(same.activity, plan.activity)
    # the sums over the estimates of two channels are rounded in another order
    torch.testing.assert_close(tracks, expected.expand(2, -1, -1), atol=1e-8, rtol=0)
    monkeypatch.setattr("audioslots_hf.panning.are_panned", lambda evidence: False)
    assert torch.equal(separate_bands(mixture.repeat(2, 1))[0], tracks)


def test_bins_go_to_the_voice_with_their_level_difference_and_the_sum_stays():
    references = turns([(0, 0.0, 1.0), (1, 0.0, 1.0)], 1.0)
    samples = GAINS @ references
    differences = 20 * torch.log10(GAINS[0] / GAINS[1])
    panning = np.zeros((2, 31))
    panning[[0, 1], [round(RANGE_DB + float(difference)) for difference in differences]] = 1
    # a model that tells nothing
    tracks = samples[:, None].expand(-1, 2, -1) / 2
    sharpened = sharpen_tracks(tracks, samples, panning, RATE)
    torch.testing.assert_close(sharpened.sum(dim=1), samples, atol=1e-6, rtol=0)
    for voice, reference in enumerate(references):
        expected = GAINS[:, voice, None] * reference
        assert level_db(sharpened[:, voice] - expected) < level_db(expected) - 15
    same = np.tile(panning[0], (2, 1))
    torch.testing.assert_close(sharpen_tracks(tracks, samples, same, RATE), tracks, atol=1e-6, rtol=0)


def test_clusters_by_panning_are_refused_where_they_explain_the_voices_worse():
    """The first person moves to the place of the second one halfway."""
    first, second, left, right = np.eye(4)
    embeddings = np.stack([normalize(first + 0.3 * second)] * 20 + [normalize(second + 0.3 * first)] * 10)[:, None]
    panning = np.stack([left] * 10 + [right] * 20)[:, None]
    ones = np.ones((30, 1))
    evidence = VoiceEvidence(embeddings, ones, ones, ones, panning=panning)
    voices = find_voices(evidence, 2)
    located = locate_voices(evidence, voices)
    np.testing.assert_array_equal(located.assignment, voices.assignment)
    expected = {voices.assignment[0, 0]: (left + right) / 2**0.5, voices.assignment[-1, 0]: right}
    np.testing.assert_allclose(located.panning, [expected[voice] for voice in range(2)], atol=1e-12)


def test_a_single_voice_and_voices_in_one_place_have_no_panning():
    rng = np.random.default_rng(0)
    embeddings, ones = normalize(rng.random((20, 1, 8))), np.ones((20, 1))
    places = np.zeros((20, 1, 31))
    places[..., 15] = 1
    still = VoiceEvidence(embeddings, ones, ones, ones, panning=places)
    assert not are_panned(still) and locate_voices(still, voices := find_voices(still, 2)) is voices
    places = places.copy()
    places[:8] = np.roll(places[:8], 3, axis=-1)
    moved = VoiceEvidence(embeddings, ones, ones, ones, panning=places)
    assert are_panned(moved) and locate_voices(moved, voices := find_voices(moved, 1)) is voices
