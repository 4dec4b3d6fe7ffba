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
"""Assignment of the estimates of a chunk to tracks, from their overlap, the voices' spectra and speaker embeddings."""

import torch

from .losses import speaker_scores
from .matching import match_estimates
from .stft import stft


# For well separated estimates, the overlap is far more reliable than spectra; weakly separated ones can swap voices although
# the overlap agrees. Chosen on 40 validation mixtures: references plus noise at 15 dB, shuffled from chunk to chunk, return
# to order in all of them, and the shipped model loses least.
OVERLAP_WEIGHT = 2.0
# The spectrum of a track is averaged over about 20 chunks.
MEMORY = 0.95
# Speaker embeddings are averaged over about 50: chosen on 100 validation mixtures, where 20 lose 0.1 dB and 100 gain nothing.
SPEAKER_MEMORY = 0.98
NUM_BANDS = 32


def band_filters(num_bins: int, num_bands: int, sampling_rate: int) -> torch.Tensor:
    """Triangular bands on a mel scale up to the Nyquist frequency: (num_bands, num_bins)"""
    mels = 2595 * torch.log10(1 + torch.linspace(0, sampling_rate / 2, num_bins, dtype=torch.float32) / 700)
    edges = torch.linspace(mels[1].item(), mels[-1].item(), num_bands + 2, dtype=torch.float32)
    rising = (mels - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - mels) / (edges[2:] - edges[1:-1])[:, None]
    return torch.minimum(rising, falling).clamp(min=0)


def normalize(values: torch.Tensor) -> torch.Tensor:
    """Subtract the mean over the sources and scale to unit norm, or zero: (num_sources, size) -> same"""
    values = values - values.mean(dim=0)
    return values / values.norm().clamp(min=1e-12)


def spectral_profiles(estimates: torch.Tensor, sampling_rate: int) -> torch.Tensor:
    """
    Shape of the mean log spectrum of each source, (num_channels, num_sources, num_samples) -> (num_sources, num_bands)
    """
    # pad with zeros, so that even a single sample has a frame
    powers = stft(torch.nn.functional.pad(estimates, (0, 128)), 512, 128).abs().square().sum(dim=0)
    # (num_sources, num_bands, num_frames)
    bands = band_filters(powers.shape[1], NUM_BANDS, sampling_rate) @ powers
    bands = bands + 1e-8 * bands.max() + 1e-30
    # weight frames by their energy: pauses carry no information
    shares = bands.sum(dim=1, keepdim=True)
    profiles = (bands.log() * shares / shares.sum(dim=-1, keepdim=True)).sum(dim=-1)
    return normalize(profiles - profiles.mean(dim=-1, keepdim=True))


def overlap_scores(estimates: torch.Tensor, history: torch.Tensor) -> torch.Tensor:
    """
    Similarity of each estimate and each track, (num_channels, num_sources, num_samples) twice -> (num_sources, num_sources)

    Inner products of the differences between the sources, relative to the mixture, times the size of these differences:
    weakly separated estimates hardly differ, and so count little.
    """
    num_sources = estimates.shape[1]
    power = estimates.sum(dim=1).square().sum().clamp(min=1e-30)
    found, expected = ((x - x.mean(dim=1, keepdim=True)).transpose(0, 1).flatten(1) for x in (estimates, history))
    scores = found @ expected.T / ((1 - 1 / num_sources) * power)
    # for any number of equally loud, well separated sources the sum is 2 and the trace 1
    return scores * scores.abs().sum() / 2


class Tracker:
    """
    Follows the sources of one recording from chunk to chunk, without references.

    After each chunk, `order` holds the index of the estimate on each track: `(num_sources,)`.

    Args:
        sampling_rate (`int`):
            In hertz.
    """

    def __init__(self, sampling_rate: int) -> None:
        self.sampling_rate = sampling_rate
        self.profiles: torch.Tensor | None = None
        self.embeddings: torch.Tensor | None = None
        self.embedding_weight = 1.0
        self.order: torch.Tensor | None = None

    def follow(
        self, estimates: torch.Tensor, history: torch.Tensor, embeddings: torch.Tensor | None = None
    ) -> torch.Tensor:
        """
        Put the estimates of the next chunk into the order of the tracks.

        Args:
            estimates (`torch.Tensor` of shape `(num_channels, num_sources, num_samples)`):
                Estimates of the next chunk, in any order, the same in all channels.
            history (`torch.Tensor` of shape `(num_channels, num_sources, num_overlapping_samples)`):
                The joined tracks over the first samples of this chunk.
            embeddings (`torch.Tensor` of shape `(num_sources, embedding_size)`, *optional*):
                Speaker embeddings of the estimates, from a model that has them.

        Returns:
            `torch.Tensor` of shape `(num_channels, num_sources, num_samples)`: the estimates in the order of the tracks.
        """
        self.order = torch.arange(estimates.shape[1])
        if estimates.shape[1] == 1:
            return estimates
        profiles = spectral_profiles(estimates, self.sampling_rate)
        if self.profiles is None:
            self.profiles, self.embeddings = profiles, embeddings
            return estimates
        scores = OVERLAP_WEIGHT * overlap_scores(estimates[..., : history.shape[-1]], history)
        scores = scores + profiles @ normalize(self.profiles).T
        if embeddings is not None:
            # a mean preserves the learned scale of the embeddings
            scores = scores + speaker_scores(embeddings, self.embeddings / self.embedding_weight)
        self.order = match_estimates(-scores[None])[0]
        self.profiles = MEMORY * self.profiles + profiles[self.order]
        if embeddings is not None:
            self.embeddings = SPEAKER_MEMORY * self.embeddings + embeddings[self.order]
        self.embedding_weight = SPEAKER_MEMORY * self.embedding_weight + 1
        return estimates[:, self.order]


__all__ = [
    "MEMORY",
    "NUM_BANDS",
    "OVERLAP_WEIGHT",
    "SPEAKER_MEMORY",
    "Tracker",
    "band_filters",
    "normalize",
    "overlap_scores",
    "spectral_profiles",
]
