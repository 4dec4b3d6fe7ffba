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
"""Short-time Fourier transform of a chunk and its exact inverse."""

import torch


def stft(waveforms: torch.Tensor, n_fft: int, hop_length: int) -> torch.Tensor:
    """
    (..., num_samples) -> complex64 (..., n_fft // 2 + 1, num_samples // hop_length + 1)

    Centred frames with zeros beyond the edges. Always float32: there is no bfloat16 FFT. The window is built here,
    because `from_pretrained` casts buffers to the model's dtype.
    """
    *batch_shape, num_samples = waveforms.shape
    window = torch.hann_window(n_fft, device=waveforms.device)
    spectrograms = torch.stft(
        waveforms.reshape(-1, num_samples).float(),
        n_fft,
        hop_length,
        window=window,
        pad_mode="constant",
        return_complex=True,
    )
    return spectrograms.reshape(*batch_shape, *spectrograms.shape[-2:])


def istft(spectrograms: torch.Tensor, n_fft: int, hop_length: int) -> torch.Tensor:
    """complex64 (..., n_fft // 2 + 1, num_frames) -> float32 (..., (num_frames - 1) * hop_length)"""
    *batch_shape, num_bins, num_frames = spectrograms.shape
    num_samples = (num_frames - 1) * hop_length
    window = torch.hann_window(n_fft, device=spectrograms.device)
    waveforms = torch.istft(
        spectrograms.reshape(-1, num_bins, num_frames),
        n_fft,
        hop_length,
        window=window,
        length=num_samples,
    )
    return waveforms.reshape(*batch_shape, num_samples)
