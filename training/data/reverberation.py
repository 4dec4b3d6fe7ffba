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
Late reverberation as decaying noise (Polack 1988, "La transmission de l'énergie sonore dans les salles"), fast enough to be drawn anew
for every example of a run. [`rooms`] simulates the reflections of a room one by one, for tests.
"""

import numpy as np
import torch

from .effects import keep_power, tilt


# direct sound to reverberation, in dB, of people 0.66 to 2 m from a microphone in rooms of 75 to 400 cubic metres
DIRECT_DB = (-4.0, 8.0)
# the first reflection arrives after the direct sound
DELAY_S = (0.002, 0.02)
# walls absorb high frequencies more: gain of the highest against the lowest ones
TILT_DB = (-9.0, 0.0)


def draw_response(rng: np.random.Generator, rt60_s: float, sampling_rate: int) -> np.ndarray:
    """
    Draw the impulse response of a place in a room: the direct sound, then noise that decays.

    Args:
        rng (`np.random.Generator`):
            Of all draws.
        rt60_s (`float`):
            Reverberation time in seconds, until the noise has decayed by 60 dB.
        sampling_rate (`int`):
            In hertz.

    Returns:
        `np.ndarray` of shape `(num_samples,)`, float32, as long as the reverberation time; the direct sound is the first sample.
    """
    num_samples = max(2, round(rt60_s * sampling_rate))
    delay = min(num_samples - 1, max(1, round(rng.uniform(*DELAY_S) * sampling_rate)))
    tail = rng.standard_normal(num_samples - delay) * 10 ** (-3 * np.arange(num_samples - delay) / num_samples)
    tail = tilt(torch.from_numpy(tail), rng.uniform(*TILT_DB)).numpy()
    tail *= 10 ** (-rng.uniform(*DIRECT_DB) / 20) / np.sqrt(np.square(tail).sum())
    return np.concatenate([[1.0], np.zeros(delay - 1), tail]).astype(np.float32)


def reverberate(waveforms: torch.Tensor, responses: torch.Tensor) -> torch.Tensor:
    """
    Waveforms at their places in a room. Each keeps its power and its length: sounds after its end are cut.

    Args:
        waveforms (`torch.Tensor` of shape `(..., num_samples)`):
            On any device.
        responses (`torch.Tensor` of shape `(..., response length)`):
            Impulse responses, on the same device.
    """
    num_samples = waveforms.shape[-1]
    padded_length = num_samples + responses.shape[-1] - 1
    spectra = torch.fft.rfft(waveforms, padded_length) * torch.fft.rfft(responses, padded_length)
    return keep_power(torch.fft.irfft(spectra, padded_length)[..., :num_samples], waveforms)
