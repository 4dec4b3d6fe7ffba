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
"""Conversations of bands of noise, with a separator and a voice encoder that know the bands."""

import torch

from audioslots_hf.chunking import Chunk, SeparatedChunks


RATE = 8000
# in hertz, of each voice
BANDS = ((100, 700), (900, 1600), (1800, 2600))


def band_filter(waveforms: torch.Tensor, band: tuple[int, int], rate: int = RATE) -> torch.Tensor:
    """The part of waveforms (..., num_samples) between two frequencies."""
    spectrum = torch.fft.rfft(waveforms)
    frequencies = torch.fft.rfftfreq(waveforms.shape[-1], 1 / rate)
    return torch.fft.irfft(spectrum * ((frequencies >= band[0]) & (frequencies < band[1])), waveforms.shape[-1])


def turns(segments: list[tuple[int, float, float]], duration_s: float, num_voices: int = 2, seed: int = 0):
    """Voices (num_voices, num_samples) that speak, in syllables, in segments (voice, start, end) in seconds."""
    generator = torch.Generator().manual_seed(seed)
    times = torch.arange(round(duration_s * RATE)) / RATE
    references = torch.zeros(num_voices, len(times))
    for voice, start, end in segments:
        noise = band_filter(torch.randn(len(times), generator=generator), BANDS[voice])
        syllables = 0.2 + (torch.sin(2 * torch.pi * 4 * times) > -0.5)
        references[voice] += 0.1 * noise * syllables * ((times >= start) & (times < end))
    return references


def split_by_band(chunks: list[Chunk]) -> SeparatedChunks:
    """The two loudest bands of each chunk, in an order that changes from chunk to chunk; they add up to it, and share its DC offset."""
    rows = torch.nn.utils.rnn.pad_sequence([row for chunk in chunks for row in chunk.samples], batch_first=True)
    bands = torch.stack([band_filter(rows, band) for band in BANDS], dim=1)
    offsets = [offset for chunk in chunks for offset in chunk.find_offsets(RATE)]
    estimates = []
    for row, parts, offset in zip(rows, bands, offsets, strict=True):
        first, second = parts.square().sum(dim=-1).topk(2).indices.tolist()
        # what the bands leave out goes with the louder
        pair = torch.stack([row - offset - parts[second], parts[second]]) + offset / 2
        estimates.append(pair.flip(0) if int(1e6 * row.abs().sum()) % 2 else pair)
    return SeparatedChunks(torch.stack(estimates))


def encode_bands(waveforms: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """How the energy of (num_waveforms, num_samples) at 16 kHz is shared among the bands: (num_waveforms, 3), of length 1"""
    assert weights.shape == (len(waveforms), waveforms.shape[-1] // 320 + 1)
    heard = waveforms * weights.repeat_interleave(320, dim=1)[:, : waveforms.shape[-1]]
    powers = torch.stack([band_filter(heard, band, 16000).square().sum(dim=-1) for band in BANDS], dim=1)
    return torch.nn.functional.normalize(powers.sqrt(), dim=-1)
