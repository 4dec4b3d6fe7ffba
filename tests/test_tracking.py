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

from audioslots_hf.tracking import Tracker, band_filters, overlap_scores, spectral_profiles


RATE = 16000


@pytest.fixture
def voices() -> torch.Tensor:
    """A dull and a bright source, (1, 2, 16000)"""
    noise = torch.randn(2, 16000, generator=torch.Generator().manual_seed(0))
    dull = torch.nn.functional.avg_pool1d(noise[:1], 9, stride=1, padding=4)[0]
    return torch.stack([dull, noise[1].diff(append=noise[1, -1:])])[None]


def test_profiles_tell_spectra_apart_and_not_levels(voices):
    profiles = spectral_profiles(voices, RATE)
    assert profiles.shape == (2, 32)
    torch.testing.assert_close(profiles.norm(), torch.tensor(1.0))
    torch.testing.assert_close(spectral_profiles(0.01 * voices, RATE), profiles, atol=1e-4, rtol=0)
    # the first rises where the second falls
    assert profiles[0, 0] > profiles[1, 0] and profiles[0, -1] < profiles[1, -1]


def test_profiles_of_silence_say_nothing():
    assert not spectral_profiles(torch.zeros(1, 2, 100), RATE).any()


def test_overlap_counts_by_how_much_was_separated(voices):
    separated = overlap_scores(voices, voices)
    mixture = voices.sum(dim=1, keepdim=True)
    hardly = overlap_scores(mixture / 2 + 0.1 * (voices - mixture / 2), mixture / 2 + 0.1 * (voices - mixture / 2))
    assert separated.trace().item() == pytest.approx(1.0, abs=0.05)
    assert 0 < hardly.trace() < 0.01 * separated.trace()


@pytest.mark.parametrize("num_sources", [2, 3, 4, 5])
def test_overlap_counts_as_much_for_any_number_of_sources(num_sources):
    sources = torch.randn(1, num_sources, 16000, generator=torch.Generator().manual_seed(2))
    assert overlap_scores(sources, sources).trace().item() == pytest.approx(1.0, abs=0.1)


def test_the_overlap_decides_between_well_separated_estimates():
    """Two sources of the same spectrum: only the overlap tells."""
    tracks = torch.randn(1, 2, 4000, generator=torch.Generator().manual_seed(1))
    tracker = Tracker(RATE)
    tracker.follow(tracks[..., :2000], tracks[..., :0])
    for start in range(500, 2001, 500):
        chunk = tracks[..., start : start + 2000]
        followed = tracker.follow(chunk.flip(1), chunk[..., :1500])
        assert torch.equal(followed, chunk)


def test_the_spectrum_decides_between_weakly_separated_estimates(voices):
    """A model that mixes up its slots gradually: the overlap agrees all the time, the spectrum does not."""
    mixture = voices.sum(dim=1, keepdim=True) / 2
    weak = mixture + 0.2 * (voices - mixture)
    tracker = Tracker(RATE)
    tracker.follow(weak[..., :8000], weak[..., :0])
    # the order by the overlap alone is wrong
    history = weak[..., 8000:14000].flip(1)
    followed = tracker.follow(weak[..., 8000:].flip(1), history)
    assert torch.equal(followed, weak[..., 8000:])


@pytest.mark.parametrize("num_samples", [1, 100])
def test_short_chunks_and_single_sources_pass(num_samples):
    tracker = Tracker(RATE)
    for num_sources in (1, 2):
        chunk = torch.randn(2, num_sources, num_samples)
        assert torch.equal(tracker.follow(chunk, chunk[..., :0]), chunk)


def test_embeddings_decide_between_weakly_separated_estimates(voices):
    """Weak and wrong evidence from overlap and spectrum."""
    mixture = voices.sum(dim=1, keepdim=True) / 2
    weak = mixture + 0.05 * (voices - mixture)
    embeddings = torch.tensor([[8.0, 0.0], [0.0, 8.0]])
    tracker = Tracker(RATE)
    tracker.follow(weak[..., :8000], weak[..., :0], embeddings)
    followed = tracker.follow(weak[..., 8000:].flip(1), weak[..., 8000:14000].flip(1), embeddings)
    assert torch.equal(followed, weak[..., 8000:].flip(1))
    assert tracker.order.tolist() == [0, 1]


def test_the_first_chunk_counts_no_more_for_a_speaker_than_the_others(voices):
    """A recording that begins with silence, of which the embeddings are anything."""
    noise = voices[:, :1].expand(1, 2, -1)
    embeddings = 1.2 * torch.eye(2)
    tracker = Tracker(RATE)
    tracker.follow(noise, noise[..., :0], embeddings.flip(0))
    for _ in range(3):
        # the overlap is sure of an order that the first embeddings are against
        assert torch.equal(tracker.follow(voices, voices, embeddings), voices)
    tracker.follow(noise, noise[..., :0], embeddings)
    assert tracker.order.tolist() == [0, 1]


def test_one_unlike_chunk_does_not_make_a_speaker_forgotten(voices):
    noise = voices[:, :1].expand(1, 2, -1)
    embeddings = 1.2 * torch.eye(2)
    tracker = Tracker(RATE)
    for _ in range(10):
        tracker.follow(voices, voices, embeddings)
    # the overlap is sure of an order that the embeddings are against
    tracker.follow(voices, voices, 1.1 * embeddings.flip(0))
    assert tracker.order.tolist() == [0, 1]
    tracker.follow(noise, noise[..., :0], embeddings)
    assert tracker.order.tolist() == [0, 1]


@pytest.mark.parametrize("sampling_rate", [8000, 16000, 44100])
def test_bands_lie_at_the_same_frequencies_at_any_rate(sampling_rate):
    """A tone of 1 kHz falls into the band whose centre is nearest on the mel scale, which ends at half of the rate."""
    num_bins = 257
    filters = band_filters(num_bins, 32, sampling_rate)
    mels = 2595 * torch.log10(1 + torch.linspace(0, sampling_rate / 2, num_bins) / 700)
    centres = torch.linspace(mels[1].item(), mels[-1].item(), 34)[1:-1]
    tone = round(1000 / (sampling_rate / 2) * (num_bins - 1))
    assert filters[:, tone].argmax() == (centres - mels[tone]).abs().argmin()
