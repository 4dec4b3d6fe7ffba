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
"""Chunking of long audio: cut, batch, and join again with each source on one track."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from .losses import pairwise_mse, without_autocast
from .matching import match_estimates, reorder_estimates
from .stft import stft
from .tracking import Tracker
from .waveforms import find_offset


@dataclass
class Chunk:
    """
    A part of a recording, at most as long as the chunk of the model.

    Args:
        samples (`torch.Tensor` of shape `(num_channels, num_samples)`):
            At the model's sampling rate; shorter than a chunk only if it is the last.
        is_last (`bool`):
            Whether the recording ends with this chunk.
        references (`torch.Tensor` of shape `(num_channels, num_sources, num_samples)`, *optional*):
            True sources of the same samples, in evaluation.
        recording (*optional*):
            The recording that the chunk belongs to, in any form; only the caller uses it.
    """

    samples: torch.Tensor
    is_last: bool
    references: torch.Tensor | None = None
    recording: Any = None
    _offsets: torch.Tensor | None = field(default=None, init=False, repr=False, compare=False)

    def find_offsets(self, sampling_rate: int) -> torch.Tensor:
        """The DC offset of each channel, by [`~waveforms.find_offset`]: `(num_channels,)`, found once."""
        if self._offsets is None:
            self._offsets = torch.stack([find_offset(row, sampling_rate) for row in self.samples])
        return self._offsets


@dataclass
class SeparatedChunks:
    """
    The sources of some chunks, one row for each channel of each chunk.

    Args:
        estimates (`torch.Tensor` of shape `(num_rows, num_sources, num_samples)`):
            As long as the longest chunk.
        embeddings (`torch.Tensor` of shape `(num_rows, num_sources, embedding_size)`, *optional*):
            Speaker embeddings, from a model that has them.
    """

    estimates: torch.Tensor
    embeddings: torch.Tensor | None = None

    def split(self, chunks: list[Chunk]) -> Iterator["SeparatedChunks"]:
        """Yield the sources of each chunk, cut to its length."""
        start = 0
        for chunk in chunks:
            num_channels, num_samples = chunk.samples.shape
            rows = slice(start, start + num_channels)
            embeddings = None if self.embeddings is None else self.embeddings[rows]
            yield SeparatedChunks(self.estimates[rows, :, :num_samples], embeddings)
            start += num_channels


def check_chunk_hop_length(chunk_hop_length: int, chunk_length: int) -> None:
    """Raise a `ValueError` if chunks at this distance would leave gaps."""
    if isinstance(chunk_hop_length, float) or not 0 < chunk_hop_length <= chunk_length:
        raise ValueError(
            f"`chunk_hop_length` is {chunk_hop_length}: it must be a whole number between 1 and the chunk length "
            f"{chunk_length}."
        )


def iter_chunks(
    blocks: Iterable[torch.Tensor], chunk_length: int, chunk_hop_length: int
) -> Iterator[tuple[torch.Tensor, bool]]:
    """
    Cut successive blocks (num_channels, any length) of one recording into pairs of a chunk and whether it is the last.

    Chunk k starts at sample k * chunk_hop_length and has shape (num_channels, chunk_length); the last may be shorter.
    """
    check_chunk_hop_length(chunk_hop_length, chunk_length)
    blocks = iter(blocks)
    buffer = next(blocks)
    while True:
        # before the next block is read: live audio would have to be waited for
        while buffer.shape[-1] > chunk_length:
            yield buffer[..., :chunk_length], False
            buffer = buffer[..., chunk_hop_length:]
        block = next(blocks, None)
        if block is None:
            break
        buffer = torch.cat([buffer, block], dim=-1)
    yield buffer, True


def cut_recording(
    blocks: Iterable[torch.Tensor],
    chunk_length: int,
    chunk_hop_length: int,
    references: torch.Tensor | None = None,
    recording: Any = None,
) -> Iterator[Chunk]:
    """The [`Chunk`]s of a recording, each with its part of the references."""
    start = 0
    for samples, is_last in iter_chunks(blocks, chunk_length, chunk_hop_length):
        part = None if references is None else references[..., start : start + samples.shape[-1]]
        yield Chunk(samples, is_last, part, recording)
        start += chunk_hop_length


def batch_chunks(chunks: Iterable[Chunk], batch_size: int) -> Iterator[list[Chunk]]:
    """Yield lists of chunks with at most `batch_size` channels in total; a chunk with more channels is a list of its own."""
    batch, num_rows = [], 0
    for chunk in chunks:
        batch.append(chunk)
        num_rows += len(chunk.samples)
        # yield a full batch before reading the next chunk: reading would block on a live recording
        if num_rows + len(chunk.samples) > batch_size:
            yield batch
            batch, num_rows = [], 0
    if batch:
        yield batch


class OverlapAdd:
    """
    Cross-fades signals of successive chunks, and returns samples as soon as no later chunk overlaps them.

    The window is a Hann window divided by the sum of the windows: signals that sum to the mixture in every chunk sum to it in the
    result.

    Args:
        chunk_length (`int`):
            Number of samples of a chunk.
        chunk_hop_length (`int`):
            Number of samples from one chunk to the next.
    """

    def __init__(self, chunk_length: int, chunk_hop_length: int):
        check_chunk_hop_length(chunk_hop_length, chunk_length)
        self.chunk_hop_length = chunk_hop_length
        # a Hann window without zeros at its ends, so that every sample has weight; as 1 - cos, long ones would round to 0 there
        self.window = (
            (math.pi * torch.arange(1, chunk_length + 1, dtype=torch.float32) / (chunk_length + 1)).sin().square()
        )
        self.sums: torch.Tensor | None = None
        self.window_sums = torch.zeros(chunk_length, dtype=torch.float32)

    def history(self, num_samples: int) -> torch.Tensor | None:
        """The joined signals over the first samples of the next chunk, up to a number; `None` before the first chunk."""
        overlap = min(int((self.window_sums > 0).sum()), num_samples)
        return None if self.sums is None else self.sums[..., :overlap] / self.window_sums[:overlap]

    def add(self, signals: torch.Tensor, is_last: bool) -> torch.Tensor:
        """Join the signals `(..., num_samples)` of one chunk -> `(..., num_finished_samples)`."""
        num_samples = signals.shape[-1]
        if self.sums is None:
            self.sums = signals.new_zeros(*signals.shape[:-1], len(self.window))
        window = self.window[:num_samples]
        self.sums[..., :num_samples] += signals * window
        self.window_sums[:num_samples] += window
        num_finished = num_samples if is_last else self.chunk_hop_length
        finished = self.sums[..., :num_finished] / self.window_sums[:num_finished]
        self.sums = shift(self.sums, num_finished)
        self.window_sums = shift(self.window_sums, num_finished)
        return finished


class Stitcher:
    """
    Joins the estimates of successive chunks, and returns samples as soon as no later chunk overlaps them.

    A [`Tracker`] first chooses the order of the sources of each chunk to fit the joined tracks, before any window is applied,
    except for a model that keeps the order itself. [`OverlapAdd`] then cross-fades. So estimates that sum to the mixture in every
    chunk sum to it in the result.

    Args:
        chunk_length (`int`):
            Number of samples of a chunk.
        chunk_hop_length (`int`):
            Number of samples from one chunk to the next.
        sampling_rate (`int`):
            In hertz.
        keeps_order (`bool`, *optional*, defaults to `False`):
            Whether the model itself keeps the order of the sources of each channel: there is nothing to track.
    """

    def __init__(self, chunk_length: int, chunk_hop_length: int, sampling_rate: int, keeps_order: bool = False):
        self.overlap_add = OverlapAdd(chunk_length, chunk_hop_length)
        self.tracker = Tracker(sampling_rate)
        self.channel_aligner = ChannelAligner() if keeps_order else None

    def add(self, separated: SeparatedChunks, is_last: bool, references: torch.Tensor | None = None) -> torch.Tensor:
        """
        Join one chunk.

        Args:
            separated ([`SeparatedChunks`]):
                Estimates of the channels of the next chunk, and their speaker embeddings for the [`Tracker`]. Only the
                last chunk may be shorter than the others.
            is_last (`bool`):
                Whether the recording ends with this chunk.
            references (`torch.Tensor` of shape `(num_channels, num_sources, num_samples)`, *optional*):
                True sources of the chunk, which then decide the order, as in the AudioSlots paper. Evaluation only.

        Returns:
            `torch.Tensor` of shape `(num_channels, num_sources, num_finished_samples)`.
        """
        # models may run in half precision, in which correlations of loud audio overflow
        with without_autocast(separated.estimates.device):
            estimates = self._align(separated, references)
        return self.overlap_add.add(estimates, is_last)

    def _align(self, separated: SeparatedChunks, references: torch.Tensor | None) -> torch.Tensor:
        if self.channel_aligner is not None:
            estimates = self.channel_aligner.align(separated.estimates)
        else:
            estimates = align_channels(separated.estimates)
        if references is not None:
            return reorder(estimates, references)
        if self.channel_aligner is not None:
            return estimates
        embeddings = separated.embeddings
        if embeddings is not None:
            embeddings = embeddings[_loudest_channel(separated.estimates)]
        history = self.overlap_add.history(estimates.shape[-1])
        return self.tracker.follow(estimates, estimates[..., :0] if history is None else history, embeddings)


def shift(values: torch.Tensor, num_samples: int) -> torch.Tensor:
    """Drop the first samples along the last dimension and append as many zeros."""
    return torch.nn.functional.pad(values[..., num_samples:], (0, num_samples))


def reorder(estimates: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """
    Put the sources into the order that fits the targets best, the same order in all channels.

    Both are `(num_channels, num_sources, num_samples)`.
    """
    costs = pairwise_mse(estimates.transpose(0, 1).flatten(1)[None], targets.transpose(0, 1).flatten(1)[None])
    return estimates[:, match_estimates(costs)[0]]


def _loudest_channel(estimates: torch.Tensor) -> int:
    """Index of the channel with the highest energy, (num_channels, num_sources, num_samples) -> scalar"""
    return int(estimates.square().sum(dim=(1, 2)).argmax())


def align_channels(estimates: torch.Tensor) -> torch.Tensor:
    """
    Put the sources of every channel into the order of the loudest one, (num_channels, num_sources, num_samples) -> same.

    Compares magnitudes, because distant microphones receive the same source with a delay, and a channel may be inverted.
    """
    if len(estimates) == 1:
        return estimates
    return reorder_estimates(estimates, match_estimates(_channel_costs(estimates, _loudest_channel(estimates))))


class ChannelAligner:
    """
    Puts the sources of every channel into the order of the first, where a model keeps the order of each channel.

    The costs are summed over the chunks so far, so a chunk in which a channel is silent changes nothing.
    """

    def __init__(self) -> None:
        self.costs: torch.Tensor | None = None

    def align(self, estimates: torch.Tensor) -> torch.Tensor:
        """Estimates of the next chunk, (num_channels, num_sources, num_samples) -> same."""
        if len(estimates) == 1:
            return estimates
        costs = _channel_costs(estimates, 0)
        self.costs = costs if self.costs is None else self.costs + costs
        return reorder_estimates(estimates, match_estimates(self.costs))


def _channel_costs(estimates: torch.Tensor, channel: int) -> torch.Tensor:
    """Costs of every source of each channel for those of one: (num_channels, num_sources, num_sources)"""
    # pad with zeros, so that even a single sample has a frame; windows of 512 samples are longer than any such delay
    magnitudes = stft(torch.nn.functional.pad(estimates, (0, 256)), 512, 256).abs().flatten(2)
    return pairwise_mse(magnitudes, magnitudes[channel].expand_as(magnitudes))


__all__ = [
    "ChannelAligner",
    "Chunk",
    "OverlapAdd",
    "SeparatedChunks",
    "Stitcher",
    "align_channels",
    "batch_chunks",
    "check_chunk_hop_length",
    "cut_recording",
    "iter_chunks",
    "reorder",
    "shift",
]
