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
"""Changes to the crops of voices that a recording, a telephone or a separation makes."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.functional import avg_pool2d

from audioslots_hf.stft import istft, stft

from ..data.effects import PADDING_S, tilt
from .settings import VoiceAugmentations


NARROW_LOW_HZ = (200.0, 400.0)
NARROW_HIGH_HZ = (3200.0, 3900.0)
HIGH_PASS_HZ = (20.0, 400.0)
# Butterworth's order on either side: a telephone cuts off steeply above
LOW_ORDER, HIGH_ORDER = 4, 16
N_FFT, HOP_LENGTH = 512, 128
# levels of the other voice of a mixture that is separated
INTERFERER_DB = (-6.0, 6.0)
# bins and frames over which an estimated mask is blurred
MASK_BLUR = (3, 5)
ACTIVITY_DB = 30.0


def scale_to(waveforms: torch.Tensor, targets: torch.Tensor, levels_db: torch.Tensor) -> torch.Tensor:
    """Waveforms (batch_size, num_samples) with the power of targets, changed by levels in dB (batch_size,)"""
    powers = [signal.square().mean(dim=-1, keepdim=True) for signal in (targets, waveforms)]
    ratio = powers[0] / powers[1].clamp(min=torch.finfo(torch.float32).tiny)
    return waveforms * (ratio.sqrt() * 10 ** (levels_db[:, None] / 20)).clamp(max=1e4)


def band_limit(
    waveforms: torch.Tensor, low_hz: torch.Tensor, high_hz: torch.Tensor, sampling_rate: int
) -> torch.Tensor:
    """Waveforms (batch_size, num_samples) between two cutoffs in hertz (batch_size,), by Butterworth's gains without delay"""
    num_samples = waveforms.shape[-1]
    padded_length = num_samples + round(PADDING_S * sampling_rate)
    frequencies = torch.fft.rfftfreq(padded_length, 1 / sampling_rate, device=waveforms.device).clamp(min=1.0)
    gains = (1 + (low_hz[:, None] / frequencies) ** (2 * LOW_ORDER)).rsqrt()
    gains = gains * (1 + (frequencies / high_hz[:, None]) ** (2 * HIGH_ORDER)).rsqrt()
    return torch.fft.irfft(torch.fft.rfft(waveforms, padded_length) * gains, padded_length)[..., :num_samples]


def separate(voices: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """
    Voices as a separator leaves them: a blurred ratio mask of the mixture with others, so that both leak and gaps remain.

    Args:
        voices, others (`torch.Tensor` of shape `(batch_size, num_samples)`):
            Two voices for each mixture.
    """
    # a whole number of hops
    length = -(-voices.shape[-1] // HOP_LENGTH) * HOP_LENGTH
    padded = torch.nn.functional.pad(torch.stack([voices, others]), (0, length - voices.shape[-1]))
    spectra = stft(padded, N_FFT, HOP_LENGTH)
    powers = spectra.abs().square() + 1e-9
    masks = (powers[0] / powers.sum(dim=0)).unsqueeze(1)
    padding = [size // 2 for size in MASK_BLUR]
    masks = avg_pool2d(masks, MASK_BLUR, 1, padding, count_include_pad=False).squeeze(1)
    return istft(spectra.sum(dim=0) * masks, N_FFT, HOP_LENGTH)[..., : voices.shape[-1]]


@torch.no_grad()
def separate_by(separator: nn.Module, voices: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """The estimates of a model that are most like the voices, from their mixtures with others, all (batch_size, num_samples)"""
    mixtures = voices + others
    levels = mixtures.square().mean(dim=-1, keepdim=True).sqrt().clamp(min=1e-5)
    estimates = separator(mixtures / levels).estimates.float()
    lengths = estimates.square().sum(dim=-1).sqrt().clamp(min=1e-6)
    likeness = (estimates * voices.unsqueeze(1)).sum(dim=-1) / lengths
    return estimates[torch.arange(len(voices), device=voices.device), likeness.argmax(dim=1)] * levels


@dataclass
class Draws:
    """Random numbers for the rows of a batch: drawn on the CPU, so that they are equal on all devices."""

    rng: np.random.Generator
    size: int
    device: torch.device

    def levels(self, bounds: list[float] | tuple[float, float], size: int | None = None) -> torch.Tensor:
        """Numbers between two bounds, float32 (size,)"""
        drawn = self.rng.uniform(*bounds, self.size if size is None else size)
        return torch.from_numpy(drawn.astype(np.float32)).to(self.device)

    def rows(self, share: float) -> torch.Tensor:
        """Which rows are changed, bool (size,)"""
        return torch.from_numpy(self.rng.random(self.size) < share).to(self.device)


def cut_gaps(voices: torch.Tensor, share: float, rng: np.random.Generator) -> torch.Tensor:
    """Silence a random span of up to half of some of the voices."""
    num_voices, num_samples = voices.shape
    lengths = rng.uniform(0.1, 0.5, num_voices) * num_samples * (rng.random(num_voices) < share)
    starts = rng.uniform(0, 1, num_voices) * (num_samples - lengths)
    positions = torch.arange(num_samples, device=voices.device)
    starts, ends = (torch.from_numpy(bounds).to(voices.device)[:, None] for bounds in (starts, starts + lengths))
    return voices * ~((positions >= starts) & (positions < ends))


def cut_ends(voices: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Silence half of the voices from a random sample on."""
    num_voices, num_samples = voices.shape
    ends = np.where(rng.random(num_voices) < 0.5, 1, rng.random(num_voices)) * num_samples
    positions = torch.arange(num_samples, device=voices.device)
    return voices * (positions < torch.from_numpy(ends).to(voices.device)[:, None])


def augment(
    voices: torch.Tensor,
    settings: VoiceAugmentations,
    rng: np.random.Generator,
    sampling_rate: int,
    separator: nn.Module | None = None,
) -> torch.Tensor:
    """
    Change a batch of crops; the other crops of the batch leak into a crop.

    Args:
        voices (`torch.Tensor` of shape `(batch_size, num_samples)`):
            Crops of different draws.
        settings ([`VoiceAugmentations`]):
            The augmentations of a crop, and their probabilities.
        rng (`np.random.Generator`):
            Decides.
        sampling_rate (`int`):
            In hertz.
        separator (`nn.Module`, *optional*):
            A separation model of waveforms, for `settings.separator_share`.
    """
    draws = Draws(rng, len(voices), voices.device)
    voices = cut_gaps(voices, settings.gap_share, rng)
    others = scale_to(voices.roll(1, dims=0), voices, torch.zeros(len(voices), device=voices.device))
    rows = draws.rows(settings.separated_share)
    if rows.any():
        levels = draws.levels(INTERFERER_DB, int(rows.sum()))
        voices[rows] = separate(voices[rows], others[rows] * 10 ** (levels[:, None] / 20))
    if separator is not None:
        # of the rows that no mask has separated
        rows = draws.rows(settings.separator_share / (1 - settings.separated_share)) & ~rows
        heard = cut_ends(others, rng) * 10 ** (draws.levels(INTERFERER_DB)[:, None] / 20)
        if rows.any():
            voices[rows] = separate_by(separator, voices[rows], heard[rows])
    rows = draws.rows(settings.leak_share)
    leaks = 10 ** (draws.levels(settings.leak_db) / 20) * rows
    voices = voices + leaks[:, None] * others
    noise = torch.from_numpy(rng.standard_normal(voices.shape, dtype=np.float32)).to(voices.device)
    # from red to blue
    noise = tilt(noise, draws.levels((-20.0, 6.0)))
    rows = draws.rows(settings.noise_share)
    voices = voices + scale_to(noise, voices, draws.levels(settings.noise_db)) * rows[:, None]
    voices = tilt(voices, draws.levels((-settings.tilt_db, settings.tilt_db)))
    is_narrow = draws.rows(settings.narrow_share)
    loses_lows = draws.rows(settings.high_pass_share)
    low_hz = torch.where(loses_lows, draws.levels(HIGH_PASS_HZ), 0.0)
    low_hz = torch.where(is_narrow, draws.levels(NARROW_LOW_HZ), low_hz)
    high_hz = torch.where(is_narrow, draws.levels(NARROW_HIGH_HZ), 1e6)
    return band_limit(voices, low_hz, high_hz, sampling_rate)


def active_frames(voices: torch.Tensor, frame_length: int) -> torch.Tensor:
    """Frames that are less than 30 dB below the loudest one, float32 (batch_size, num_samples // frame_length + 1)"""
    padded = torch.nn.functional.pad(voices, (frame_length // 2, frame_length))
    num_frames = voices.shape[-1] // frame_length + 1
    powers = padded[:, : num_frames * frame_length].unflatten(1, (num_frames, frame_length)).square().mean(dim=-1)
    return (powers > powers.amax(dim=1, keepdim=True) * 10 ** (-ACTIVITY_DB / 10)).float()
