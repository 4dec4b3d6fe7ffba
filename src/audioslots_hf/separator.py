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
"""Separation of mixtures of any length: cut, separate in batches, join."""

import copy
import functools
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from transformers import FeatureExtractionMixin, PreTrainedConfig, PreTrainedModel

from .chunking import Chunk, SeparatedChunks, Stitcher, batch_chunks, check_chunk_hop_length, cut_recording
from .forks import use_one_thread_if_forked
from .passes import average_passes, check_passes
from .progress import Progress, cut_blocks


def default_chunk_hop_length(chunk_length: int, sampling_rate: int) -> int:
    """
    Number of samples from one chunk to the next: chunks overlap by a second, short ones by three quarters.

    The overlap is separated twice, so long chunks should overlap little. With an overlap of only half a short chunk, the
    order of the sources of a weak model is lost more often.
    """
    return max(1, chunk_length // 4, chunk_length - sampling_rate)


def default_batch_size(chunk_length: int, sampling_rate: int, device: torch.device) -> int:
    """
    Number of chunks with 16 s of audio, at most 16: batches of one short chunk are slow, many long chunks need much memory.

    Half of it on a CPU, whose caches cannot hold more states: GALR small at 16 kHz would be slower by an eighth.
    """
    duration_s = 8 if device.type == "cpu" else 16
    return max(1, min(16, duration_s * sampling_rate // chunk_length))


def check_chunk_length(chunk_length: int, config: PreTrainedConfig) -> None:
    """Raise a `ValueError` unless the model takes chunks of so many samples."""
    step = config.input_length_step
    if chunk_length == config.chunk_length:
        return
    if step is None:
        raise ValueError(
            f"`chunk_length` is {chunk_length}: a model of the family {config.model_type!r} supports only its "
            f"own, {config.chunk_length}."
        )
    if chunk_length % step or not config.min_input_length <= chunk_length <= config.chunk_length:
        raise ValueError(
            f"`chunk_length` is {chunk_length}: it must be a multiple of {step} from {config.min_input_length} to "
            f"{config.chunk_length}."
        )


class CarriedSlots:
    """The slots of the last chunk of each channel, with which the next chunk of the recording begins."""

    def __init__(self) -> None:
        self.slots: torch.Tensor | None = None
        self.recording_ids = torch.zeros(0, dtype=torch.long)
        self.chunks: list[Chunk] = []

    def begin(self, chunks: list[Chunk], config: PreTrainedConfig, device: torch.device) -> dict[str, torch.Tensor]:
        """The inputs of the model for a batch of successive chunks of one recording after the other."""
        recording, ids = 0, []
        for chunk in chunks:
            # each channel is followed by itself
            ids += range(recording, recording + len(chunk.samples))
            recording += len(chunk.samples) if chunk.is_last else 0
        self.chunks, self.recording_ids = chunks, torch.tensor(ids, device=device)
        initial = torch.zeros(len(ids), config.num_slots, config.hidden_size, device=device)
        if self.slots is not None:
            initial[: len(self.slots)] = self.slots
        return {"initial_slots": initial, "recording_ids": self.recording_ids}

    def keep(self, slots: torch.Tensor) -> None:
        """Keep the slots `(num_rows, num_slots, hidden_size)` of the last chunk, unless its recording ends."""
        last = self.chunks[-1]
        self.slots = None if last.is_last else slots[-len(last.samples) :].float()


class NotFiniteError(ValueError):
    """Estimates that hold NaN or infinite samples."""


class Separator:
    """
    Separates recordings of any length, at the model's sampling rate, with a model of any family.

    Example:

    ```python
    >>> separator = Separator(model, feature_extractor)
    >>> estimates = separator.separate(torch.randn(2, 100_000))  # (2, num_sources, 100_000)
    ```

    Args:
        model ([`~transformers.PreTrainedModel`]):
            Computes the estimates of a chunk, on its own device.
        feature_extractor ([`~transformers.FeatureExtractionMixin`]):
            The feature extractor of the model.
        chunk_hop_length (`int`, *optional*):
            Number of samples from one chunk to the next. By default chunks overlap by a second, or by three quarters
            of a short chunk. The chunk length itself gives the disjoint chunks of the AudioSlots paper.
        batch_size (`int`, *optional*):
            Number of chunks, counted per channel, in a forward pass. Defaults to 16 s of audio (8 s on a CPU), at most 16
            chunks.
        post_process_kwargs (`dict`, *optional*):
            Passed to the feature extractor's `post_process_audio_separation`, for instance `{"mask": "binary"}`.
        chunk_length (`int`, *optional*):
            Number of samples of a chunk, at most the feature extractor's, which is the default. Only families whose inputs
            may be shorter take another.
        order_by_references (`bool`, *optional*, defaults to `False`):
            Whether the references of each chunk decide the order of its sources, as in the AudioSlots paper. By default a
            [`~tracking.Tracker`] decides without references.
        passes (`int`, *optional*, defaults to 1):
            Number of passes over every chunk, whose estimates are averaged: 2 add its inversion, 4 also a shift by half a stride of
            the encoder. So many times slower. Only for families that estimate waveforms.

    Raises:
        `ValueError`: `chunk_hop_length` would leave gaps between the chunks, or the model does not take `chunk_length` or `passes`.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        feature_extractor: FeatureExtractionMixin,
        chunk_hop_length: int | None = None,
        batch_size: int | None = None,
        post_process_kwargs: dict[str, Any] | None = None,
        chunk_length: int | None = None,
        order_by_references: bool = False,
        passes: int = 1,
    ):
        check_passes(passes, None if model is None else model.config)
        self.passes = passes
        self._process = os.getpid()
        self.model = model
        self.feature_extractor = feature_extractor
        if chunk_length is not None:
            check_chunk_length(chunk_length, model.config)
            # audio is padded to the length that the feature extractor knows
            self.feature_extractor = copy.copy(feature_extractor)
            self.feature_extractor.chunk_length = chunk_length
        self.chunk_length: int = self.feature_extractor.chunk_length
        self.sampling_rate: int = feature_extractor.sampling_rate
        sizes = (self.chunk_length, self.sampling_rate)
        if chunk_hop_length is None:
            chunk_hop_length = default_chunk_hop_length(*sizes)
        check_chunk_hop_length(chunk_hop_length, self.chunk_length)
        self.chunk_hop_length = chunk_hop_length
        self.batch_size = default_batch_size(*sizes, self.device) if batch_size is None else batch_size
        self.post_process_kwargs = post_process_kwargs or {}
        self.order_by_references = order_by_references

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        return self.model.device

    @property
    def has_sequential_slots(self) -> bool:
        """Whether the slots of a chunk start those of the next one."""
        return self.model is not None and self.model.config.sequential_slots

    def separate(
        self,
        waveforms: torch.Tensor,
        on_progress: Callable[[float], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> torch.Tensor:
        """
        Separate a recording in memory.

        Args:
            waveforms (`torch.Tensor` of shape `(num_channels, num_samples)`):
                The recording.
            on_progress (callable, *optional*):
                Called with the finished fraction, from 0 to 1, in this thread.
            cancel (`threading.Event`, *optional*):
                Another thread sets it to stop the separation.

        Returns:
            `torch.Tensor` of shape `(num_channels, num_sources, num_samples)`, on the CPU.

        Raises:
            `SeparationCancelled`: `cancel` was set.
        """
        progress = Progress(on_progress, cancel)
        blocks = progress.watch(cut_blocks(waveforms, self.chunk_hop_length), waveforms.shape[-1])
        estimates = torch.cat(list(self.stream(blocks)), dim=-1)
        progress.finish()
        return estimates

    def stream(self, blocks: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
        """
        Separate a recording of any length in bounded memory.

        Args:
            blocks (iterable of `torch.Tensor` of shape `(num_channels, num_samples)`):
                Successive parts of the recording, of any lengths.

        Yields:
            `torch.Tensor` of shape `(num_channels, num_sources, num_samples)`: the estimates of successive samples, as
            soon as no later chunk overlaps them.
        """
        for part, _ in self.stream_chunks(self.cut(blocks)):
            yield part

    def cut(
        self, blocks: Iterable[torch.Tensor], references: torch.Tensor | None = None, recording: Any = None
    ) -> Iterator[Chunk]:
        """Cut a recording into chunks by [`~chunking.cut_recording`]."""
        return cut_recording(blocks, self.chunk_length, self.chunk_hop_length, references, recording)

    def stream_chunks(self, chunks: Iterable[Chunk]) -> Iterator[tuple[torch.Tensor, Chunk]]:
        """
        Separate several recordings in turn, with chunks of successive recordings in common batches.

        A model with `sequential_slots` begins every chunk with the slots of the one before, and so keeps the order of its sources.

        Args:
            chunks (iterable of [`~chunking.Chunk`]):
                The chunks of one recording after the other. Each is read only when needed.

        Yields:
            `tuple` of the estimates that a chunk completes, and the chunk.
        """
        use_one_thread_if_forked(self._process)
        stitcher, separate = self.build_stitcher(), self.separate_chunks
        if self.has_sequential_slots:
            separate = functools.partial(self.separate_chunks, carried=CarriedSlots())
        for batch in batch_chunks(chunks, self.batch_size):
            for chunk, separated in zip(batch, separate(batch).split(batch), strict=True):
                references = chunk.references if self.order_by_references else None
                yield stitcher.add(separated, chunk.is_last, references), chunk
                if chunk.is_last:
                    stitcher = self.build_stitcher()

    def build_stitcher(self) -> Stitcher:
        """Build the [`~chunking.Stitcher`] that joins the chunks of one recording."""
        return Stitcher(
            self.chunk_length, self.chunk_hop_length, self.sampling_rate, keeps_order=self.has_sequential_slots
        )

    @torch.inference_mode()
    def separate_chunks(self, chunks: list[Chunk], carried: CarriedSlots | None = None) -> SeparatedChunks:
        """
        Separate a batch of chunks, one row for each of their channels; the result is on the CPU.

        A DC offset is no sound: the model does not get it, and the sources share it equally, so that they add up to the mixture.

        Args:
            chunks (`list` of [`~chunking.Chunk`]):
                The batch.
            carried ([`CarriedSlots`], *optional*):
                State of a model with `sequential_slots`: the chunks then follow each other. Otherwise every chunk stands alone.

        Raises:
            [`NotFiniteError`], a `ValueError`: an estimate holds NaN or infinite samples.
        """
        use_one_thread_if_forked(self._process)
        rows = [row.to(self.device) for chunk in chunks for row in chunk.samples]
        offsets = torch.cat([chunk.find_offsets(self.sampling_rate) for chunk in chunks]).to(self.device)
        rows = [row - offset for row, offset in zip(rows, offsets, strict=True)]
        all_outputs = []
        slots = {} if carried is None else carried.begin(chunks, self.model.config, self.device)

        def separate(rows: list[torch.Tensor]) -> torch.Tensor:
            features = self.feature_extractor(rows, sampling_rate=self.sampling_rate, return_tensors="pt")
            all_outputs.append(self.model(**features, **slots))
            return self.feature_extractor.post_process_audio_separation(
                all_outputs[-1], features, **self.post_process_kwargs
            )

        shift = (self.model.config.input_length_step or 0) // 2
        estimates = average_passes(separate, rows, self.passes, shift)
        for separated, row, offset in zip(estimates, rows, offsets, strict=True):
            separated[:, : len(row)] += offset / len(separated)
        estimates = estimates.cpu()
        # masks would hide what is not finite in the model's own estimates
        if not (
            torch.isfinite(estimates).all() and all(torch.isfinite(outputs.estimates).all() for outputs in all_outputs)
        ):
            raise NotFiniteError(
                "The model's estimates hold NaN or infinite samples: its weights are damaged, or the input is too loud for "
                f"{self.model.dtype}."
            )
        if carried is not None:
            carried.keep(all_outputs[0].slots)
        embeddings = all_outputs[0].get("speaker_embeddings")
        return SeparatedChunks(estimates, None if embeddings is None else embeddings.float().cpu())


__all__ = [
    "CarriedSlots",
    "NotFiniteError",
    "Separator",
    "check_chunk_length",
    "default_batch_size",
    "default_chunk_hop_length",
]
