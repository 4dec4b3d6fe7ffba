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

import math

import torch


def stft(waveforms: torch.Tensor, n_fft: int, hop_length: int) -> torch.Tensor:
    """
    (..., num_samples) -> complex64 (..., n_fft // 2 + 1, num_samples // hop_length + 1)

    Centred frames, with zero padding at the edges. Always float32: bfloat16 has no FFT. The window is built in each call,
    because `from_pretrained` casts buffers to the model's dtype.
    """
    *batch_shape, num_samples = waveforms.shape
    window = torch.hann_window(n_fft, dtype=torch.float32, device=waveforms.device)
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
    window = torch.hann_window(n_fft, dtype=torch.float32, device=spectrograms.device)
    waveforms = torch.istft(
        spectrograms.reshape(-1, num_bins, num_frames),
        n_fft,
        hop_length,
        window=window,
        length=num_samples,
    )
    return waveforms.reshape(*batch_shape, num_samples)


def _fourier_bases(n_fft: int, like: torch.Tensor) -> torch.Tensor:
    """
    Cosines and negative sines of the real Fourier transform, under a Hann window: float32 (n_fft + 2, 1, n_fft)

    The bases are computed rather than kept as a buffer, because `from_pretrained` leaves non-persistent buffers uninitialized.
    """
    times = torch.arange(n_fft, device=like.device)
    bins = torch.arange(n_fft // 2 + 1, device=like.device)[:, None]
    # the products are reduced modulo n_fft while they are integers, so that the angles stay exact
    angles = 2 * math.pi / n_fft * (bins * times % n_fft).float()
    window = torch.hann_window(n_fft, dtype=torch.float32, device=like.device)
    return (torch.cat([angles.cos(), -angles.sin()]) * window).unsqueeze(1)


def real_stft(waveforms: torch.Tensor, n_fft: int, hop_length: int) -> torch.Tensor:
    """
    (batch_size, num_samples) -> real and imaginary parts, float32 (batch_size, 2, n_fft // 2 + 1, num_samples // hop_length)

    A convolution with the Fourier bases: real numbers, which compilers and exporters take. The waveforms are padded by
    (n_fft - hop_length) / 2 zeros on both sides, so that there is one frame per hop and every sample can be given back.
    """
    waveforms = waveforms.float()
    padding = (n_fft - hop_length) // 2
    bases = _fourier_bases(n_fft, like=waveforms)
    spectra = torch.nn.functional.conv1d(waveforms.unsqueeze(1), bases, stride=hop_length, padding=padding)
    return spectra.unflatten(1, (2, -1))


def inverse_real_stft(spectra: torch.Tensor, n_fft: int, hop_length: int) -> torch.Tensor:
    """The inverse of [`real_stft`]: (..., 2, n_fft // 2 + 1, num_frames) -> float32 (..., num_frames * hop_length)"""
    *batch_shape, _, num_bins, num_frames = spectra.shape
    bases = _fourier_bases(n_fft, like=spectra)
    # all bins but the first and the last stand for their conjugates too
    weights = torch.full((num_bins, 1), 2 / n_fft, dtype=torch.float32, device=spectra.device)
    weights[0], weights[-1] = 1 / n_fft, 1 / n_fft
    frames = (spectra.float() * weights).reshape(-1, 2 * num_bins, num_frames)
    settings = {"stride": hop_length, "padding": (n_fft - hop_length) // 2}
    waveforms = torch.nn.functional.conv_transpose1d(frames, bases, **settings)
    window = torch.hann_window(n_fft, dtype=torch.float32, device=spectra.device).square()[None, None]
    ones = torch.ones(1, 1, num_frames, dtype=torch.float32, device=spectra.device)
    sums = torch.nn.functional.conv_transpose1d(ones, window, **settings)
    return (waveforms / sums).view(*batch_shape, -1)


__all__ = ["inverse_real_stft", "istft", "real_stft", "stft"]
