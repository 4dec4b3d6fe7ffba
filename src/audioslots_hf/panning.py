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
"""
Panning: how the energy of an estimate is spread over level differences between two channels, as an embedding beside that of its voice.

Voices seldom share a bin of the short-time Fourier transform, so most bins of a mixture have the level difference of one of them (Yilmaz
and Rickard 2004, "Blind separation of speech mixtures via time-frequency masking", IEEE TSP 52(7), section II).
"""

from dataclasses import replace

import numpy as np
import torch

from .activity import frame_length
from .speakers import TOGETHER_COST, VoiceClusters, VoiceEvidence, assign_voices, find_voices, normalize
from .stft import istft, stft
from .turns import window_frames


# Voices are most disjoint in bins of about 64 ms (section II-B).
NUM_FRAMES_PER_BIN = 64 / 20
# range and steps of the level differences
RANGE_DB = 15.0
STEP_DB = 1.0
NUM_DIFFERENCES = round(2 * RANGE_DB / STEP_DB) + 1
# of the cosine of the panning, relative to that of the voice
PANNING_WEIGHT = 1.0
# the mean embedding of equal channels has length 1; that of two voices in different places, which speak equally long, 0.7
MAX_AGREEMENT = 0.99
# Clusters found with the panning may explain the voices worse by this cosine: people may move.
MAX_LOSS = 0.02
# least share of the energy of a voice at a level difference
MIN_SHARE = 0.01


def embed_panning(
    samples: torch.Tensor, estimates: torch.Tensor, active: np.ndarray, num_windows: int, sampling_rate: int
) -> tuple[np.ndarray, np.ndarray]:
    """
    The panning of the estimates of a chunk: square roots of histograms, so that the cosine of two is the overlap of their histograms.

    Args:
        samples (`torch.Tensor` of shape `(num_channels, num_samples)`):
            The chunk.
        estimates (`torch.Tensor` of shape `(num_channels, num_estimates, num_samples)`):
            Its estimates, which weight the bins of the chunk by their energy and the square of their share of it.
        active (bool `np.ndarray` of shape `(num_estimates, num_frames)`):
            Frames in which an estimate holds speech that is no leak.
        num_windows (`int`):
            Number of windows of [`~turns.cut_windows`].
        sampling_rate (`int`):
            In hertz.

    Returns:
        `tuple` of `(num_estimates, num_differences)`, from the active frames, and float16 `(num_windows, num_estimates, num_differences)`,
        from the frames of each window, of length 1, or 0 without sound. There are no differences unless there are two channels.
    """
    num_estimates = estimates.shape[1]
    if len(samples) != 2:
        return np.zeros((num_estimates, 0)), np.zeros((num_windows, num_estimates, 0), np.float16)
    histograms = _difference_histograms(samples, estimates, frame_length(sampling_rate))
    # the last frame is centred at the end of the chunk
    num_frames = min(len(histograms), active.shape[1])
    whole = np.einsum("ef,fed->ed", active[:, :num_frames], histograms[:num_frames])
    windows = np.stack([histograms[frames].sum(axis=0) for frames in window_frames(num_windows)])
    return normalize(np.sqrt(whole)), normalize(np.sqrt(windows)).astype(np.float16)


def _difference_histograms(samples: torch.Tensor, estimates: torch.Tensor, hop_length: int) -> np.ndarray:
    """Energy of each estimate in the bins with each level difference: `(num_frames, num_estimates, num_differences)`"""
    n_fft = _bin_length(hop_length)
    # (num_frames, num_bins)
    first, share = (part.T for part in _find_steps(stft(samples, n_fft, hop_length)))
    powers = stft(estimates, n_fft, hop_length).abs().square().sum(dim=0).transpose(1, 2)
    # a bin in which another estimate is louder has the level difference of that one
    powers *= (powers / powers.sum(dim=0).clamp(min=1e-20)).square()
    histograms = powers.new_zeros(*powers.shape[:2], NUM_DIFFERENCES)
    for index, part in ((first, 1 - share), (first + 1, share)):
        histograms.scatter_add_(2, index.expand(powers.shape), powers * part)
    return histograms.transpose(0, 1).cpu().numpy()


def _bin_length(frame_length: int) -> int:
    """Samples of a bin, an even number."""
    return 2 * round(NUM_FRAMES_PER_BIN * frame_length / 2)


def _find_steps(spectrograms: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """
    The level difference of each bin of `(2, num_bins, num_frames)`, which lies between two steps and counts for both.

    Returns the index of the first step and the share of the second, each `(num_bins, num_frames)`.
    """
    # silence in one channel is at the end of the range, and in both in its middle
    levels = 10 * (spectrograms.abs().square() + torch.finfo(torch.float32).tiny).log10()
    places = ((levels[0] - levels[1]).clamp(-RANGE_DB, RANGE_DB) + RANGE_DB) / STEP_DB
    first = places.long().clamp(max=NUM_DIFFERENCES - 2)
    return first, places - first


def are_panned(evidence: VoiceEvidence) -> bool:
    """Whether there are two channels, in which speech has several level differences."""
    mean = np.einsum("ce,ced->d", evidence.weights, evidence.panning) / max(float(evidence.weights.sum()), 1e-12)
    return bool(mean.any() and np.linalg.norm(mean) < MAX_AGREEMENT)


def locate_voices(evidence: VoiceEvidence, voices: VoiceClusters) -> VoiceClusters:
    """
    The voices of a recording with their panning, where they are panned.

    The panning also chooses between clusters that explain the voices about equally well. It changes no number of voices.
    """
    if len(voices.centroids) == 1 or not are_panned(evidence):
        return voices
    size = evidence.embeddings.shape[-1]
    joint = normalize(np.concatenate([evidence.embeddings, PANNING_WEIGHT**0.5 * evidence.panning], axis=-1))
    found = find_voices(replace(evidence, embeddings=joint), len(voices.centroids))
    centroids = normalize(found.centroids[:, :size])
    score = assign_voices(evidence, centroids, TOGETHER_COST)[1]
    if score >= voices.score - MAX_LOSS:
        return VoiceClusters(found.assignment, centroids, score, normalize(found.centroids[:, size:]))
    is_own = voices.assignment[..., None] == np.arange(len(voices.centroids))
    return replace(voices, panning=normalize(np.einsum("cev,ce,ced->vd", is_own, evidence.weights, evidence.panning)))


def sharpen_tracks(
    tracks: torch.Tensor, samples: torch.Tensor, panning: np.ndarray, sampling_rate: int
) -> torch.Tensor:
    """
    Give more of each bin to the voices that have its level difference, as soft masks; the sum of the tracks stays.

    Args:
        tracks (`torch.Tensor` of shape `(2, num_voices, num_samples)`):
            The estimates of the voices. Where voices have the same panning, their tracks stay.
        samples (`torch.Tensor` of shape `(2, num_samples)`):
            The mixture.
        panning (`np.ndarray` of shape `(num_voices, num_differences)`):
            Of the voices.
        sampling_rate (`int`):
            In hertz.

    Returns:
        `torch.Tensor` of shape `(2, num_voices, num_samples)`.
    """
    n_fft = _bin_length(frame_length(sampling_rate))
    hop_length = n_fft // 4
    num_samples = samples.shape[-1]
    padding = (0, -num_samples % hop_length)
    mixture, voices = (stft(torch.nn.functional.pad(part, padding), n_fft, hop_length) for part in (samples, tracks))
    first, share = _find_steps(mixture)
    shares = torch.from_numpy(panning**2).float()
    # (num_voices, num_bins, num_frames)
    likelihoods = shares[:, first].lerp(shares[:, first + 1], share) + MIN_SHARE
    before = voices.abs().square().sum(dim=0).sqrt() + 1e-12
    after = before * likelihoods
    change = after / after.sum(dim=0) - before / before.sum(dim=0)
    return istft(voices + change * mixture[:, None], n_fft, hop_length)[..., :num_samples]


__all__ = [
    "MAX_AGREEMENT",
    "MAX_LOSS",
    "MIN_SHARE",
    "NUM_DIFFERENCES",
    "NUM_FRAMES_PER_BIN",
    "PANNING_WEIGHT",
    "RANGE_DB",
    "STEP_DB",
    "are_panned",
    "embed_panning",
    "locate_voices",
    "sharpen_tracks",
]
