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
"""Voice activity: frames whose level is near that of the loud frames of a voice, and not far below that of the other voices."""

import numpy as np
import torch


FRAMES_PER_S = 50
# level of digital silence, in dB of full scale
SILENCE_DB = -120.0
# a recording contains no speech if its level never exceeds this, or never changes by more
MIN_LEVEL_DB = -75.0
MIN_DYNAMICS_DB = 6.0
# range of levels of an active voice, below its own loud frames and below the other voices
RANGE_DB = 30.0
LEAK_DB = 14.0
# frames closer to the noise floor are noise, unless the noise is nearly as loud as speech
NOISE_MARGIN_DB = 5.0
# share of the frames, in percent, that are no louder than the noise floor: conversations have few pauses
NOISE_PERCENTILE = 5
MIN_SPEECH_TO_NOISE_DB = 15.0
# A telephone carries nothing above this frequency: speech with so little power above it, relative to that below, has passed one. Wide-band
# recordings of four corpora have -35 dB and more, most telephone prompts -40 dB and less.
TELEPHONE_HZ = 4000
NARROW_BAND_DB = -38.0
# number of frames over which levels of voices are compared
NUM_COMPARED_FRAMES = 9
# speech extends beyond its loud frames; shorter pauses count as speech, shorter sounds do not
PADDING_S = 0.04
MIN_PAUSE_S = 0.3
MIN_SOUND_S = 0.04


def frame_length(sampling_rate: int) -> int:
    """Number of samples of a frame of 20 ms."""
    return max(1, sampling_rate // FRAMES_PER_S)


def frame_powers(waveforms: torch.Tensor, sampling_rate: int) -> torch.Tensor:
    """Mean power of each frame of 20 ms, the last one filled with zeros: (..., num_samples) -> (..., num_frames)"""
    length = frame_length(sampling_rate)
    padded = torch.nn.functional.pad(waveforms.float(), (0, -waveforms.shape[-1] % length))
    return padded.unflatten(-1, (-1, length)).square().mean(dim=-1)


def band_energies(waveforms: torch.Tensor, sampling_rate: int) -> np.ndarray:
    """Energy below and above [`TELEPHONE_HZ`], under a Hann window: (..., num_samples) -> (2,)"""
    # without the window the edges would have high frequencies
    window = torch.hann_window(waveforms.shape[-1], periodic=False, device=waveforms.device)
    energies = torch.fft.rfft(waveforms.float() * window).abs().square()
    split = round(TELEPHONE_HZ * waveforms.shape[-1] / sampling_rate)
    return np.array([float(part.sum()) for part in (energies[..., :split], energies[..., split:])])


def is_narrow_band(energies: np.ndarray) -> bool:
    """Whether speech has passed a telephone: [`band_energies`] of its parts, (..., 2)"""
    low, high = energies.reshape(-1, 2).sum(axis=0)
    return bool(high <= 10 ** (NARROW_BAND_DB / 10) * low)


def to_db(powers: np.ndarray) -> np.ndarray:
    """Powers in dB of full scale, at least [`SILENCE_DB`]."""
    return 10 * np.log10(powers + 10 ** (SILENCE_DB / 10))


def loud_level_db(levels: np.ndarray) -> float:
    """The level that only 5 % of the non-silent frames exceed; it does not depend on the amount of silence."""
    return float(np.percentile(levels[levels >= levels.max() - 40], 95))


def find_threshold_db(powers: np.ndarray) -> float:
    """
    The level above which frames of a recording are speech; infinite without speech.

    Args:
        powers (`np.ndarray` of shape `(num_frames,)`):
            Of the mixture.
    """
    levels = to_db(powers)
    loud, floor = loud_level_db(levels), float(np.percentile(levels, NOISE_PERCENTILE))
    # digital silence between words is not the noise floor
    is_steady = loud - float(np.percentile(levels, 1)) < MIN_DYNAMICS_DB
    if loud < MIN_LEVEL_DB or (is_steady and len(levels) > FRAMES_PER_S):
        return np.inf
    return max(loud - RANGE_DB - NOISE_MARGIN_DB, min(floor + NOISE_MARGIN_DB, loud - MIN_SPEECH_TO_NOISE_DB))


def find_activity(powers: np.ndarray, threshold_db: float) -> np.ndarray:
    """
    Whether each voice speaks.

    Args:
        powers (`np.ndarray` of shape `(num_voices, num_frames)`):
            Of the track of each voice.
        threshold_db (`float`):
            From [`find_threshold_db`].

    Returns:
        bool `np.ndarray` of shape `(num_voices, num_frames)`.
    """
    compared = np.stack([moving_mean(row, NUM_COMPARED_FRAMES) for row in powers])
    active = np.zeros(powers.shape, bool)
    for voice, row in enumerate(powers):
        levels = to_db(row)
        heard = levels > max(loud_level_db(levels) - RANGE_DB, threshold_db)
        if len(powers) > 1:
            others = np.delete(compared, voice, axis=0).max(axis=0)
            heard &= to_db(compared[voice]) > to_db(others) - LEAK_DB
        active[voice] = smooth_activity(heard)
    return active


def moving_mean(values: np.ndarray, size: int) -> np.ndarray:
    """Moving average, over fewer values at the ends: (num_values,) -> same"""
    # odd, so that it has a middle
    size = min(size, 2 * ((len(values) + 1) // 2) - 1)
    return np.convolve(values, np.ones(size), "same") / np.convolve(np.ones(len(values)), np.ones(size), "same")


def smooth_activity(active: np.ndarray, padding_s: float = PADDING_S) -> np.ndarray:
    """Widen activity a little, fill short pauses and leave out short sounds: bool (num_frames,) -> same"""
    for start, stop in find_spans(active):
        if stop - start < MIN_SOUND_S * FRAMES_PER_S:
            active[start:stop] = False
    margin = round(padding_s * FRAMES_PER_S)
    if active.any():
        active = np.convolve(np.pad(active, margin), np.ones(2 * margin + 1), "valid") > 0
    for start, stop in find_spans(~active):
        if start > 0 and stop < len(active) and stop - start < MIN_PAUSE_S * FRAMES_PER_S:
            active[start:stop] = True
    return active


def find_spans(active: np.ndarray) -> list[tuple[int, int]]:
    """Start and stop of each run of true frames of (num_frames,)."""
    changes = np.flatnonzero(np.diff(np.concatenate([[0], active.astype(np.int8), [0]])))
    return [(int(start), int(stop)) for start, stop in changes.reshape(-1, 2)]


__all__ = [
    "FRAMES_PER_S",
    "LEAK_DB",
    "MIN_DYNAMICS_DB",
    "MIN_LEVEL_DB",
    "MIN_PAUSE_S",
    "MIN_SOUND_S",
    "MIN_SPEECH_TO_NOISE_DB",
    "NARROW_BAND_DB",
    "NOISE_MARGIN_DB",
    "NOISE_PERCENTILE",
    "NUM_COMPARED_FRAMES",
    "PADDING_S",
    "RANGE_DB",
    "SILENCE_DB",
    "TELEPHONE_HZ",
    "band_energies",
    "find_activity",
    "find_spans",
    "find_threshold_db",
    "frame_length",
    "frame_powers",
    "is_narrow_band",
    "loud_level_db",
    "moving_mean",
    "smooth_activity",
    "to_db",
]
