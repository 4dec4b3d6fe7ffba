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

"""The lows that a telephone or a small microphone does not carry."""

import torch


# Butterworth's: 24 dB an octave
ORDER = 4
# zeros that the filter rings out in, which would else come in again at the other end
PADDING_S = 0.1


def high_pass(waveforms: torch.Tensor, cutoffs_hz: float | torch.Tensor, sampling_rate: int) -> torch.Tensor:
    """
    Waveforms through Butterworth's high-pass filter, without its delay.

    Args:
        waveforms (`torch.Tensor` of shape `(..., num_samples)`):
            On any device.
        cutoffs_hz (`float` or `torch.Tensor` of shape `(...)`):
            Where 3 dB are lost, in hertz, from 20 on; 0 lets everything through.
        sampling_rate (`int`):
            In hertz.
    """
    num_samples = waveforms.shape[-1]
    padded_length = num_samples + round(PADDING_S * sampling_rate)
    frequencies = torch.fft.rfftfreq(padded_length, 1 / sampling_rate, dtype=waveforms.dtype, device=waveforms.device)
    cutoffs = torch.as_tensor(cutoffs_hz, dtype=waveforms.dtype, device=waveforms.device)
    # what is left of 0 Hz is nothing, from cutoffs of 20 Hz on, and no case of its own
    gains = (1 + (cutoffs[..., None] / frequencies.clamp(min=1.0)) ** (2 * ORDER)).rsqrt()
    return torch.fft.irfft(torch.fft.rfft(waveforms, padded_length) * gains, padded_length)[..., :num_samples]
