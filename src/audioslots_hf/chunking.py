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
"""Long audio: cut into chunks, separate in batches, join with the same source on the same track."""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import torch
from transformers import FeatureExtractionMixin, PreTrainedModel

from .losses import pairwise_mse, without_autocast
from .matching import match_estimates, reorder_estimates
from .stft import stft
from .tracking import Tracker


class SeparatedChunks(NamedTuple):
    """The sources of some chunks, and what tells their speakers apart."""

    # (num_chunks, num_sources, longest num_samples)
    estimates: torch.Tensor
    # (num_chunks, num_sources, embedding_size), of size 0 from a model without
    speaker_embeddings: torch.Tensor


# separates a list of chunks, each (num_samples,)
SeparateChunks = Callable[[list[torch.Tensor]], SeparatedChunks]


def chunk_separator(
    model: PreTrainedModel, feature_extractor: FeatureExtractionMixin, **post_process_kwargs
) -> SeparateChunks:
    """The function that separates a batch of chunks with a model of any family, on the model's device."""

    @torch.inference_mode()
    def separate_chunks(chunks: list[torch.Tensor]) -> SeparatedChunks:
        chunks = [chunk.to(model.device) for chunk in chunks]
        features = feature_extractor(chunks, sampling_rate=feature_extractor.sampling_rate, return_tensors="pt")
        outputs = model(**features)
        estimates = feature_extractor.post_process_audio_separation(outputs, features, **post_process_kwargs).cpu()
        embeddings = outputs.get("speaker_embeddings")
        return SeparatedChunks(estimates, estimates[..., :0] if embeddings is None else embeddings.float().cpu())

    return separate_chunks


def default_hop_length(chunk_length: int, sampling_rate: int) -> int:
    """
    Chunks overlap by a second, or by three quarters where they are short.

    What overlaps is separated twice, so long chunks should overlap little; with half of a short one the order of a
    weak model is lost more often.
    """
    return max(1, chunk_length // 4, chunk_length - sampling_rate)


def default_batch_size(chunk_length: int, sampling_rate: int, device: torch.device) -> int:
    """
    Chunks of 16 s together, at most 16: one short chunk at a time would be slow, many long ones would need much memory.

    Half of it on a CPU, whose caches do not hold the states of more: GALR small is then slower by an eighth at 16 kHz.
    """
    duration_s = 8 if device.type == "cpu" else 16
    return max(1, min(16, duration_s * sampling_rate // chunk_length))


def check_hop_length(hop_length: int, chunk_length: int) -> None:
    """Raise a `ValueError` unless chunks this far apart cover the audio."""
    if isinstance(hop_length, float) or not 0 < hop_length <= chunk_length:
        raise ValueError(
            f"`hop_length` is {hop_length}: it must be a whole number between 1 and the chunk length {chunk_length}."
        )


def iter_chunks(
    blocks: Iterable[torch.Tensor], chunk_length: int, hop_length: int
) -> Iterator[tuple[torch.Tensor, bool]]:
    """
    Cut successive blocks (num_channels, any length) of one recording into chunks, each with whether it is the last.

    Chunk k holds the samples from k * hop_length on, (num_channels, chunk_length); the last may be shorter.
    """
    check_hop_length(hop_length, chunk_length)
    blocks = iter(blocks)
    buffer = next(blocks)
    for block in blocks:
        while buffer.shape[-1] > chunk_length:
            yield buffer[..., :chunk_length], False
            buffer = buffer[..., hop_length:]
        buffer = torch.cat([buffer, block], dim=-1)
    while buffer.shape[-1] > chunk_length:
        yield buffer[..., :chunk_length], False
        buffer = buffer[..., hop_length:]
    yield buffer, True


class Stitcher:
    """
    Joins the estimates of successive chunks, handing out samples as soon as no later chunk reaches them.

    The order of the sources of each chunk is chosen by a [`Tracker`] to fit what is already joined, before any window is
    applied; then a Hann window cross-fades, divided by the sum of the windows. So estimates that add up to the
    mixture in every chunk add up to it in the result.

    Args:
        chunk_length (`int`):
            Number of samples of a chunk.
        hop_length (`int`):
            Number of samples from one chunk to the next.
    """

    def __init__(self, chunk_length: int, hop_length: int):
        check_hop_length(hop_length, chunk_length)
        self.hop_length = hop_length
        # a Hann window without a zero at the ends: every sample has weight; as 1 - cos the ends of a long one would round to 0
        self.window = (math.pi * torch.arange(1, chunk_length + 1) / (chunk_length + 1)).sin().square()
        self.sums: torch.Tensor | None = None
        self.weights = torch.zeros(chunk_length)
        self.tracker = Tracker()

    def add(
        self,
        estimates: torch.Tensor,
        is_last: bool,
        references: torch.Tensor | None = None,
        embeddings: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """
        Join one chunk.

        Args:
            estimates (`torch.Tensor` of shape `(num_channels, num_sources, num_samples)`):
                Estimates of the next chunk, shorter than a chunk only if it is the last.
            is_last (`bool`):
                Whether the recording ends with this chunk.
            references (`torch.Tensor` of shape `(num_channels, num_sources, num_samples)`, *optional*):
                True sources of the chunk, to choose the order by, as the AudioSlots paper does. Evaluation only.
            embeddings (`torch.Tensor` of shape `(num_channels, num_sources, embedding_size)`, *optional*):
                Speaker embeddings of the estimates, for the [`Tracker`].

        Returns:
            `torch.Tensor` of shape `(num_channels, num_sources, num_finished_samples)`.
        """
        num_samples = estimates.shape[-1]
        if self.sums is None:
            self.sums = estimates.new_zeros(*estimates.shape[:-1], len(self.window))
        # the model may be computed in half precision: correlations of loud audio would overflow there
        with without_autocast(estimates.device):
            embeddings = (estimates[..., :0] if embeddings is None else embeddings)[loudest_channel(estimates)]
            estimates = self._align(align_channels(estimates), references, embeddings)
        window = self.window[:num_samples]
        self.sums[..., :num_samples] += estimates * window
        self.weights[:num_samples] += window
        num_finished = num_samples if is_last else self.hop_length
        finished = self.sums[..., :num_finished] / self.weights[:num_finished]
        self.sums = shift(self.sums, num_finished)
        self.weights = shift(self.weights, num_finished)
        return finished

    def _align(
        self, estimates: torch.Tensor, references: torch.Tensor | None, embeddings: torch.Tensor
    ) -> torch.Tensor:
        if references is not None:
            return reorder(estimates, references)
        overlap = min(int((self.weights > 0).sum()), estimates.shape[-1])
        return self.tracker.follow(estimates, self.sums[..., :overlap] / self.weights[:overlap], embeddings)


def shift(values: torch.Tensor, num_samples: int) -> torch.Tensor:
    """Drop the first samples along the last dimension and append as many zeros."""
    return torch.nn.functional.pad(values[..., num_samples:], (0, num_samples))


def reorder(estimates: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """
    Give the sources the order that fits the targets best, the same order in all channels.

    Both are `(num_channels, num_sources, num_samples)`.
    """
    costs = pairwise_mse(estimates.transpose(0, 1).flatten(1)[None], targets.transpose(0, 1).flatten(1)[None])
    return estimates[:, match_estimates(costs)[0]]


def loudest_channel(estimates: torch.Tensor) -> int:
    """Index of the channel of most energy, (num_channels, num_sources, num_samples) -> scalar"""
    return int(estimates.square().sum(dim=(1, 2)).argmax())


def align_channels(estimates: torch.Tensor) -> torch.Tensor:
    """
    Give every channel the source order of the loudest, (num_channels, num_sources, num_samples) -> same.

    Compares magnitudes, because microphones apart hear the same source with a delay, and a channel may be inverted.
    """
    if len(estimates) == 1:
        return estimates
    # zeros behind, so that even a single sample has a frame; windows of 512 samples are longer than any such delay
    magnitudes = stft(torch.nn.functional.pad(estimates, (0, 256)), 512, 256).abs().flatten(2)
    loudest = magnitudes[loudest_channel(estimates)]
    orders = match_estimates(pairwise_mse(magnitudes, loudest.expand_as(magnitudes)))
    return reorder_estimates(estimates, orders)


def separate_blocks(
    blocks: Iterable[torch.Tensor],
    separate_chunks: SeparateChunks,
    chunk_length: int,
    hop_length: int,
    batch_size: int = 16,
    references: torch.Tensor | None = None,
) -> Iterator[torch.Tensor]:
    """
    Separate a recording of any length in bounded memory.

    Args:
        blocks (iterable of `torch.Tensor` of shape `(num_channels, num_samples)`):
            Successive parts of the recording, of any lengths, at the model's sampling rate.
        separate_chunks (callable):
            Separates a batch of chunks, see [`chunk_separator`].
        chunk_length (`int`):
            Number of samples the model sees at once.
        hop_length (`int`):
            Number of samples from one chunk to the next. `chunk_length` itself gives the paper's disjoint chunks.
        batch_size (`int`, *optional*, defaults to 16):
            Number of chunks, counted per channel, that go through the model together.
        references (`torch.Tensor` of shape `(num_channels, num_sources, num_samples)`, *optional*):
            True sources of the whole recording, to order the sources of each chunk by. Evaluation only: without
            them a [`Tracker`] chooses it.

    Yields:
        `torch.Tensor` of shape `(num_channels, num_sources, num_samples)`: the estimates of successive samples.
    """
    recordings = [(blocks, references)]
    for part, _ in separate_recordings(recordings, separate_chunks, chunk_length, hop_length, batch_size):
        yield part


def separate_recordings(
    recordings: Iterable[tuple[Iterable[torch.Tensor], torch.Tensor | None]],
    separate_chunks: SeparateChunks,
    chunk_length: int,
    hop_length: int,
    batch_size: int = 16,
) -> Iterator[tuple[torch.Tensor, bool]]:
    """
    [`separate_blocks`] on recordings one after the other, whose chunks go through the model in common batches.

    Args:
        recordings (iterable of `tuple`):
            The blocks of each recording, and its references or `None`. A recording is asked for when its chunks are due.

    Yields:
        `tuple` of a part of the estimates and whether its recording ends with it.
    """
    chunks = (chunk for recording in recordings for chunk in cut_recording(*recording, chunk_length, hop_length))
    stitcher = Stitcher(chunk_length, hop_length)
    for batch in batch_chunks(chunks, batch_size):
        separated = separate_chunks([row for chunk, _, _ in batch for row in chunk])
        parts = (values.split([len(chunk) for chunk, _, _ in batch]) for values in separated)
        for (chunk, is_last, references), estimates, embeddings in zip(batch, *parts, strict=True):
            yield stitcher.add(estimates[..., : chunk.shape[-1]], is_last, references, embeddings), is_last
            if is_last:
                stitcher = Stitcher(chunk_length, hop_length)


def cut_recording(
    blocks: Iterable[torch.Tensor], references: torch.Tensor | None, chunk_length: int, hop_length: int
) -> Iterator[tuple[torch.Tensor, bool, torch.Tensor | None]]:
    """Chunks as from [`iter_chunks`], each with its part of the references."""
    start = 0
    for chunk, is_last in iter_chunks(blocks, chunk_length, hop_length):
        end = start + chunk.shape[-1]
        yield chunk, is_last, None if references is None else references[..., start:end]
        start += hop_length


def batch_chunks(
    chunks: Iterable[tuple[torch.Tensor, bool, torch.Tensor | None]], batch_size: int
) -> Iterator[list[tuple[torch.Tensor, bool, torch.Tensor | None]]]:
    """Lists of chunks of at most `batch_size` channels in all; a chunk of more stands alone."""
    batch, num_rows = [], 0
    for chunk in chunks:
        batch.append(chunk)
        num_rows += len(chunk[0])
        # filled before the next chunk is asked for: on a live recording that would wait
        if num_rows + len(chunk[0]) > batch_size:
            yield batch
            batch, num_rows = [], 0
    if batch:
        yield batch


def separate_waveforms(
    waveforms: torch.Tensor,
    separate_chunks: SeparateChunks,
    chunk_length: int,
    hop_length: int,
    batch_size: int = 16,
    references: torch.Tensor | None = None,
) -> torch.Tensor:
    """
    [`separate_blocks`] on a recording in memory, (num_channels, num_samples) -> (num_channels, num_sources, num_samples)
    """
    parts = separate_blocks([waveforms], separate_chunks, chunk_length, hop_length, batch_size, references)
    return torch.cat(list(parts), dim=-1)
