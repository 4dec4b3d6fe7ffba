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
"""Pitch of a voice."""

import math

import torch

from audioslots_hf.resampling import resample

from ..torchaudio_import import import_torchaudio


# The pitch and its audible harmonics lie well below half of this rate.
PITCH_RATE = 8000
LOWEST_F0_HZ = 75
HIGHEST_F0_HZ = 400
# Long frames and little smoothing, which gave the most consistent pitch for each of ten readers.
FRAME_S = 0.03
NUM_SMOOTHED_FRAMES = 5
# Frames this far below the loud ones of a voice are pauses or unvoiced.
LOUD_RANGE_DB = 10


def require_torchaudio() -> None:
    """Raise an `ImportError` that names the fix, before any work is done."""
    import_torchaudio("functional", "The pitch of the voices")


def median_f0s(voices: torch.Tensor, sampling_rate: int) -> list[float]:
    """
    Median fundamental frequency of single voices in hertz, over their loud frames, most of which are voiced.

    `(num_voices, num_samples)` -> one number each, NaN for silence and for less than half a second.
    """
    functional = import_torchaudio("functional", "The pitch of the voices")
    rate = min(sampling_rate, PITCH_RATE)
    voices = resample(voices, sampling_rate, rate)
    if voices.shape[-1] < rate // 2:
        return [math.nan] * len(voices)
    f0s = functional.detect_pitch_frequency(voices, rate, FRAME_S, NUM_SMOOTHED_FRAMES, LOWEST_F0_HZ, HIGHEST_F0_HZ)
    frame_length = math.ceil(rate * FRAME_S)
    energies = voices.unfold(-1, frame_length, frame_length).square().mean(dim=-1)
    num_frames = min(f0s.shape[-1], energies.shape[-1])
    floors = energies.quantile(0.95, dim=-1, keepdim=True) * 10 ** (-LOUD_RANGE_DB / 10)
    is_loud = (energies > floors)[:, :num_frames]
    # the median of no frame is NaN
    return f0s[:, :num_frames].where(is_loud, torch.nan).nanmedian(dim=-1).values.tolist()


def distance_in_semitones(f0_hz: float, other_f0_hz: float) -> float:
    """Distance between two pitches; 12 semitones are an octave."""
    return abs(12 * math.log2(f0_hz / other_f0_hz))
