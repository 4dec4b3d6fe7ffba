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
"""Conversations: one track for each voice of a recording, from the first word to the last, in two passes."""

import copy
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from .activity import (
    FRAMES_PER_S,
    band_energies,
    find_spans,
    find_threshold_db,
    frame_length,
    frame_powers,
    loud_level_db,
    to_db,
)
from .chunking import Chunk, OverlapAdd, align_channels, batch_chunks, cut_recording
from .panning import embed_panning, locate_voices
from .placing import gate_tracks, place_chunk
from .progress import Progress, cut_blocks
from .resampling import resample
from .separator import Separator
from .speakers import VoiceClusters, VoiceEvidence, check_speakers, find_voices
from .summaries import ChunkSummary, find_chunk_turns, find_dominant, gather_evidence
from .turns import ChunkTurns, cross_fade, cut_windows, decide_activity, widen_activity


# Chunks of 2 s contain one or two turns, and enough speech to identify a voice. GALR keeps the order of its sources within them
# better than within chunks of 4 s.
WINDOW_S = 2.0
# a voice encoder needs at least this much speech
MIN_EMBEDDED_S = 0.2

VoiceEncoder = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass
class ConversationPlan:
    """
    The segments of each voice of a recording, and the voice of each estimate of each chunk.

    Args:
        assignment (int `np.ndarray` of shape `(num_chunks, num_windows, num_estimates)`):
            Voice of each estimate of each chunk, in windows every 0.2 s.
        activity (bool `np.ndarray` of shape `(num_voices, num_frames)`):
            Whether each voice speaks in each frame of 20 ms. Voices are in the order of their first words.
        duration_s (`float`):
            Length of the recording in seconds.
        is_overlapped (bool `np.ndarray` of shape `(num_chunks,)`, *optional*):
            Whether several voices speak at once in each chunk, if the recording is cut into chunks.
        panning (`np.ndarray` of shape `(num_voices, num_differences)`, *optional*):
            Of the voices, where they are panned.
    """

    assignment: np.ndarray
    activity: np.ndarray
    duration_s: float
    is_overlapped: np.ndarray | None = None
    panning: np.ndarray | None = None

    @property
    def num_voices(self) -> int:
        """Number of people who speak."""
        return len(self.activity)

    @property
    def segments(self) -> list[list[tuple[float, float]]]:
        """Start and end, in seconds, of the segments of each voice."""
        return [
            [(start / FRAMES_PER_S, min(stop / FRAMES_PER_S, self.duration_s)) for start, stop in find_spans(active)]
            for active in self.activity
        ]

    @property
    def overlap_share(self) -> float:
        """Time in which several voices speak, relative to the time in which any does."""
        counts = self.activity.sum(axis=0)
        return float((counts > 1).sum() / max(1, (counts > 0).sum()))


class ConversationSeparator:
    """
    Separates recordings of conversations: one track for each voice, silent where it does not speak.

    It runs two passes over a recording, and stores about 20 kB for each second of it. The first separates chunks of 2 s, and stores the
    levels and voice embeddings of each estimate. [`~speakers.find_voices`] then clusters the embeddings of the whole recording,
    and [`~turns.find_turns`] tells who speaks when. The second pass separates the chunks in which several voices speak at once
    again, and writes each estimate to the track of its voice. So a recording may contain more people than the model has outputs,
    unless more speak at once.

    During speech, the tracks sum to the mixture. While a voice does not speak, its track is zero. The track of a single voice is the
    recording itself; without speech there is no track.

    Args:
        separator ([`Separator`]):
            Computes the estimates. Several `passes` of it go over the chunks in which several voices speak at once.
        encoder (callable):
            Voice encoder with the signature of [`VoiceEncoderModel`]: waveforms `(num_waveforms, num_samples)` at 16 kHz and
            weights of their frames of 20 ms, `(num_waveforms, num_samples // 320 + 1)`, to embeddings of length 1.
        num_speakers (`int`, *optional*):
            Number of people who speak. By default it is estimated.
        max_speakers (`int`, *optional*):
            Maximum number of people, if the number is estimated.

    Raises:
        `ValueError`: a number of speakers is invalid.
    """

    encoder_sampling_rate = 16000

    def __init__(
        self,
        separator: Separator,
        encoder: VoiceEncoder,
        num_speakers: int | None = None,
        max_speakers: int | None = None,
    ):
        check_speakers(num_speakers, max_speakers)
        self.separator = _window_separator(separator)
        # who speaks when follows from one pass of the model
        self.planner = copy.copy(self.separator)
        self.planner.passes = 1
        self.encoder = encoder
        self.num_speakers = num_speakers
        self.max_speakers = max_speakers
        self.sampling_rate = separator.sampling_rate
        self.window_length = window_length(separator)
        self.hop_length = self.window_length // 2

    def separate(
        self,
        waveforms: torch.Tensor,
        on_progress: Callable[[float], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> tuple[torch.Tensor, ConversationPlan]:
        """
        Separate a recording in memory.

        Args:
            waveforms (`torch.Tensor` of shape `(num_channels, num_samples)`):
                The recording.
            on_progress (callable, *optional*):
                Called with the finished fraction of both passes, from 0 to 1, in this thread.
            cancel (`threading.Event`, *optional*):
                Another thread sets it to stop the separation.

        Returns:
            `tuple` of the tracks, `(num_channels, num_voices, num_samples)`, on the CPU, and who speaks when.

        Raises:
            `SeparationCancelled`: `cancel` was set.
        """
        progress = Progress(on_progress, cancel, num_passes=2)

        def read() -> Iterator[torch.Tensor]:
            return progress.watch(cut_blocks(waveforms, self.hop_length), waveforms.shape[-1])

        plan = self.plan(read())
        progress.finish_pass()
        tracks = waveforms.new_zeros(len(waveforms), 0, waveforms.shape[-1])
        if plan.num_voices:
            tracks = torch.cat(list(self.stream(read(), plan)), dim=-1)
        progress.finish()
        return tracks, plan

    def plan(self, blocks: Iterable[torch.Tensor]) -> ConversationPlan:
        """
        The first pass: who speaks when.

        Args:
            blocks (iterable of `torch.Tensor` of shape `(num_channels, num_samples)`):
                Successive parts of the recording, of any lengths.

        Raises:
            `ValueError`: the recording holds too little speech for `num_speakers`.
        """
        summaries = []
        num_samples = 0
        for batch in batch_chunks(self.cut(blocks), self.separator.batch_size):
            for chunk, estimates in zip(batch, self.separate_chunks(batch), strict=True):
                num_samples = len(summaries) * self.hop_length + chunk.samples.shape[-1]
                summaries.append(self.summarize(chunk.samples, estimates))
        return self._decide(summaries, num_samples)

    def stream(self, blocks: Iterable[torch.Tensor], plan: ConversationPlan) -> Iterator[torch.Tensor]:
        """
        The second pass: the tracks.

        Args:
            blocks (iterable of `torch.Tensor` of shape `(num_channels, num_samples)`):
                The same recording again.
            plan ([`ConversationPlan`]):
                From the first pass.

        Yields:
            `torch.Tensor` of shape `(num_channels, num_voices, num_samples)`: the tracks of successive samples. Those of several voices
            have no DC offset.
        """
        if plan.num_voices == 1:
            yield from (block.unsqueeze(1) for block in blocks)
            return
        overlap_add = OverlapAdd(self.window_length, self.hop_length)
        audible = widen_activity(plan.activity)
        index = num_finished = 0
        for batch in batch_chunks(self.cut(blocks), self.separator.batch_size):
            several = [chunk for place, chunk in enumerate(batch) if plan.is_overlapped[index + place]]
            separated = iter(self.separate_chunks(several, is_final=True) if several else [])
            for chunk in batch:
                # where one voice speaks, the track is the mixture
                estimates = next(separated) if plan.is_overlapped[index] else None
                place = (plan.assignment[index], plan.num_voices, self.sampling_rate, plan.panning)
                joined = overlap_add.add(place_chunk(chunk, estimates, *place), chunk.is_last)
                yield gate_tracks(joined, audible, num_finished, self.sampling_rate)
                num_finished += joined.shape[-1]
                index += 1

    def cut(self, blocks: Iterable[torch.Tensor]) -> Iterator[Chunk]:
        """The chunks of a recording."""
        return cut_recording(blocks, self.window_length, self.hop_length)

    def separate_chunks(self, chunks: list[Chunk], is_final: bool = False) -> list[torch.Tensor]:
        """
        The estimates of each chunk, `(num_channels, num_estimates, num_samples)`, in one order in all channels.

        Those of the tracks, which are final, are the mean over the passes of the separator.
        """
        separator = self.separator if is_final else self.planner
        if separator.chunk_length < self.window_length:
            estimates = [separator.separate(chunk.samples) for chunk in chunks]
        else:
            estimates = [part.estimates for part in separator.separate_chunks(chunks).split(chunks)]
        return [align_channels(part) for part in estimates]

    def summarize(self, samples: torch.Tensor, estimates: torch.Tensor) -> ChunkSummary:
        """Compute the stored data of a chunk from its samples and its estimates."""
        # a DC offset is not speech
        samples, estimates = (part - part.mean(dim=-1, keepdim=True) for part in (samples, estimates))
        powers = frame_powers(estimates, self.sampling_rate)
        mixture_powers = frame_powers(samples, self.sampling_rate).mean(dim=0).numpy()
        # the embedding comes from the channel in which a voice is loudest
        loudest = powers.sum(dim=-1).argmax(dim=0)
        heard = torch.stack([estimates[channel, source] for source, channel in enumerate(loudest.tolist())])
        powers = powers.mean(dim=0).numpy()
        active = find_dominant(powers, mixture_powers)
        bands = band_energies(samples, self.sampling_rate)
        windows = self.embed_windows(heard)
        panning = embed_panning(samples, estimates, active, len(windows), self.sampling_rate)
        return ChunkSummary(mixture_powers, powers, self.embed(heard, active), windows, *panning, bands)

    def find_voices(self, evidence: VoiceEvidence) -> VoiceClusters:
        """The people of a recording, by [`~speakers.find_voices`] and [`~panning.locate_voices`]."""
        return locate_voices(evidence, find_voices(evidence, self.num_speakers, self.max_speakers))

    def find_turns(
        self, index: int, summary: ChunkSummary, voices: VoiceClusters, threshold_db: float, loud_db: float
    ) -> ChunkTurns:
        """The voices of the chunk with an index, by [`~turns.find_turns`]."""
        return find_chunk_turns(summary, voices, threshold_db, loud_db)

    def find_activity(
        self, turns: list[ChunkTurns], starts: list[int], mixture_powers: np.ndarray, threshold_db: float
    ) -> np.ndarray:
        """Whether each voice speaks in each frame, from the turns of chunks that start at these frames."""
        log_odds, powers = (
            cross_fade((getattr(turn, name) for turn in turns), starts, len(mixture_powers))
            for name in ("log_odds", "powers")
        )
        return decide_activity(log_odds, powers, mixture_powers, threshold_db)

    def _decide(self, summaries: list[ChunkSummary], num_samples: int) -> ConversationPlan:
        """Cluster the data of the first pass, and compute the activity of each voice."""
        duration_s = num_samples / self.sampling_rate
        frames_per_hop = self.hop_length / frame_length(self.sampling_rate)
        num_frames = -(-num_samples // frame_length(self.sampling_rate))
        starts = [round(index * frames_per_hop) for index in range(len(summaries))]
        mixture_powers = np.zeros(num_frames)
        for start, summary in zip(starts, summaries, strict=True):
            _place_frames(mixture_powers, start, summary.mixture_powers)
        threshold_db = find_threshold_db(mixture_powers)
        if np.isinf(threshold_db):
            nobody = np.zeros((0, num_frames), bool)
            return ConversationPlan(np.zeros((len(summaries), 0, 0), int), nobody, duration_s)
        voices = self.find_voices(gather_evidence(summaries, threshold_db))
        loud_db = loud_level_db(to_db(mixture_powers))
        turns = [
            self.find_turns(index, summary, voices, threshold_db, loud_db) for index, summary in enumerate(summaries)
        ]
        activity = self.find_activity(turns, starts, mixture_powers, threshold_db)
        num_windows = len(turns[0].assignment)
        assignment = np.stack(
            [np.pad(turn.assignment, ((0, num_windows - len(turn.assignment)), (0, 0)), "edge") for turn in turns]
        )
        several = activity.sum(axis=0) > 1
        is_overlapped = [
            several[start : start + len(summary.mixture_powers)].any()
            for start, summary in zip(starts, summaries, strict=True)
        ]
        plan = ConversationPlan(assignment, activity, duration_s, np.array(is_overlapped), voices.panning)
        return _order_voices(plan, keep_silent=self.num_speakers is not None)

    @torch.inference_mode()
    def embed(self, waveforms: torch.Tensor, active: np.ndarray) -> np.ndarray:
        """
        Embeddings of the active frames, `(num_estimates, num_samples)` and `(num_estimates, num_frames)` -> `(num_estimates, size)`
        """
        waveforms = resample(waveforms, self.sampling_rate, self.encoder_sampling_rate)
        num_frames = waveforms.shape[-1] * FRAMES_PER_S // self.encoder_sampling_rate + 1
        # a frame of the encoder is centred at the start of a frame here
        padded = np.pad(active.astype(np.float32), ((0, 0), (1, 1)), "edge")
        weights = ((padded[:, 1:] + padded[:, :-1]) / 2)[:, :num_frames]
        weights[active.sum(axis=1) < MIN_EMBEDDED_S * FRAMES_PER_S] = 0
        return self._encode(waveforms, torch.from_numpy(weights))

    @torch.inference_mode()
    def embed_windows(self, waveforms: torch.Tensor) -> np.ndarray:
        """
        Embeddings of windows of 0.8 s every 0.2 s, `(num_estimates, num_samples)` -> float16 `(num_windows, num_estimates, size)`
        """
        waveforms = resample(waveforms, self.sampling_rate, self.encoder_sampling_rate)
        windows, weights = cut_windows(waveforms, self.encoder_sampling_rate)
        embeddings = self._encode(windows.flatten(0, 1), weights.flatten(0, 1))
        return embeddings.reshape(*windows.shape[:2], -1).astype(np.float16)

    def _encode(self, waveforms: torch.Tensor, weights: torch.Tensor) -> np.ndarray:
        """Run the voice encoder; embeddings without a weighted frame are zero."""
        outputs = self.encoder(waveforms, weights)
        embeddings = outputs if isinstance(outputs, torch.Tensor) else outputs.embeddings
        return (embeddings * (weights > 0).any(dim=1, keepdim=True)).float().cpu().numpy()


def window_length(separator: Separator) -> int:
    """Number of samples of a chunk of 2 s, rounded to whole frames if the model works on frames."""
    step = separator.model.config.input_length_step or 1
    return round(WINDOW_S * separator.sampling_rate) // step * step


def _window_separator(separator: Separator) -> Separator:
    """A separator for chunks of 2 s; a model with a fixed chunk length processes windows of 2 s in its own chunks."""
    config, length = separator.model.config, window_length(separator)
    if config.input_length_step is None or config.chunk_length < length:
        return separator
    return Separator(
        separator.model,
        separator.feature_extractor,
        batch_size=max(1, separator.batch_size * separator.chunk_length // length),
        post_process_kwargs=separator.post_process_kwargs,
        chunk_length=length,
        passes=separator.passes,
    )


def _place_frames(powers: np.ndarray, start: int, values: np.ndarray) -> None:
    """Write the frames of a chunk, the last of which may lie after the end."""
    stop = min(start + len(values), len(powers))
    powers[start:stop] = values[: stop - start]


def _order_voices(plan: ConversationPlan, keep_silent: bool) -> ConversationPlan:
    """Number the voices by their first words; voices that never speak come last, or are left out: their number is -1."""
    first = [np.flatnonzero(active)[0] if active.any() else len(active) for active in plan.activity]
    order = np.argsort(first, kind="stable")
    if not keep_silent:
        order = order[plan.activity[order].any(axis=1)]
    numbers = np.full(len(plan.activity), -1)
    numbers[order] = np.arange(len(order))
    panning = None if plan.panning is None else plan.panning[order]
    return replace(plan, assignment=numbers[plan.assignment], activity=plan.activity[order], panning=panning)


__all__ = [
    "ConversationPlan",
    "ConversationSeparator",
    "MIN_EMBEDDED_S",
    "VoiceEncoder",
    "WINDOW_S",
    "window_length",
]
