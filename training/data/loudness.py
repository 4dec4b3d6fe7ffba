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
"""Loudness as in LibriMix: ITU-R BS.1770, by pyloudnorm."""

import functools
import warnings
from pathlib import Path

import numpy as np

from .audio import AudioError


# LibriMix's ranges for the loudness of a voice and of noise, in LUFS
SPEECH_LUFS = (-33.0, -25.0)
NOISE_LUFS = (-38.0, -30.0)
# maximum peak of a mixture or voice; louder ones are scaled down to it
MAX_PEAK = 0.9
# duration of a block of the measurement
BLOCK_S = 0.4


@functools.lru_cache
def meter(sampling_rate: int) -> object:
    """The loudness meter for a sampling rate, built once."""
    import pyloudnorm

    return pyloudnorm.Meter(sampling_rate, block_size=BLOCK_S)


def loudness_lufs(audio: np.ndarray, sampling_rate: int) -> float:
    """Integrated loudness of mono audio in LUFS, -inf for silence; shorter audio is padded to one block."""
    padding = max(0, int(np.ceil(BLOCK_S * sampling_rate)) - len(audio))
    with warnings.catch_warnings():
        # the logarithm of silence
        warnings.simplefilter("ignore")
        return float(meter(sampling_rate).integrated_loudness(np.pad(audio, (0, padding))))


def audible_lufs(path: Path, audio: np.ndarray, sampling_rate: int) -> float:
    """
    The loudness of audio from a file.

    Raises:
        `AudioError`: the audio is silent.
    """
    loudness = loudness_lufs(audio, sampling_rate)
    if loudness == -np.inf:
        raise AudioError(f"{path} is silent: leave it out.")
    return loudness


def gain_between(from_lufs: float, to_lufs: float) -> float:
    """The factor from one loudness to another."""
    return 10 ** ((to_lufs - from_lufs) / 20)
