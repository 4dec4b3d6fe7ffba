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

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from transformers.utils.logging import get_logger

from .activity import FRAMES_PER_S, find_activity, find_spans, find_threshold_db, frame_length, frame_powers, to_db
from .chunking import Chunk, OverlapAdd, align_channels, batch_chunks, cut_recording
from .progress import Progress, cut_blocks
from .resampling import resample
from .separator import Separator
from .speakers import VoiceEvidence, check_speakers, find_voices


logger = get_logger(__name__)

# Chunks of 2 s contain one or two turns, and enough speech to identify a voice. GALR keeps the order of its sources within them
# better than within chunks of 4 s.
WINDOW_S = 2.0
# within a chunk, before the level of the recording is known
CHUNK_RANGE_DB = 25.0
# frames in which another estimate is louder by this are not used for the embedding of a voice
DOMINANCE_DB = 10.0
# a voice encoder needs at least this much speech
MIN_EMBEDDED_S = 0.2

VoiceEncoder = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass
class ConversationPlan:
    """
    The segments of each voice of a recording, and the voice of each estimate of each chunk.

    Args:
        assignment (int `np.ndarray` of shape `(num_chunks, num_estimates)`):
            Voice of each estimate of each chunk.
        activity (bool `np.ndarray` of shape `(num_voices, num_frames)`):
            Whether each voice speaks in each frame of 20 ms. Voices are in the order of their first words.
        duration_s (`float`):
            Length of the recording in seconds.
    """

    assignment: np.ndarray
    activity: np.ndarray
    duration_s: float

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

    def voices_of(self, chunk: int) -> np.ndarray:
        """The voices that the estimates of a chunk belong to."""
        return np.unique(self.assignment[chunk])


@dataclass
class ChunkSummary:
    """The stored data of a separated chunk: powers of its frames, levels and embeddings of its estimates."""

    mixture_powers: np.ndarray
    powers: np.ndarray
    embeddings: np.ndarray


class ConversationSeparator:
    """
    Separates recordings of conversations: one track for each voice, silent where it does not speak.

    It runs two passes over a recording, in bounded memory. The first separates chunks of 2 s, and stores the activity, the level
    and a voice embedding of each estimate. [`~speakers.find_voices`] then clusters the embeddings of the whole recording. The second
    pass separates the chunks with several voices again, and writes each estimate to the track of its voice. So a recording may
    contain more people than the model has outputs, unless more speak at once.

    During speech, the tracks sum to the mixture. While a voice does not speak, its track is zero. The track of a single voice is the
    recording itself; without speech there is no track.

    Args:
        separator ([`Separator`]):
            Computes the estimates.
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
        return _make_plan(summaries, self, num_samples)

    def stream(self, blocks: Iterable[torch.Tensor], plan: ConversationPlan) -> Iterator[torch.Tensor]:
        """
        The second pass: the tracks.

        Args:
            blocks (iterable of `torch.Tensor` of shape `(num_channels, num_samples)`):
                The same recording again.
            plan ([`ConversationPlan`]):
                From the first pass.

        Yields:
            `torch.Tensor` of shape `(num_channels, num_voices, num_samples)`: the tracks of successive samples.
        """
        if plan.num_voices == 1:
            yield from (block.unsqueeze(1) for block in blocks)
            return
        overlap_add = OverlapAdd(self.window_length, self.hop_length)
        index = num_finished = 0
        for batch in batch_chunks(self.cut(blocks), self.separator.batch_size):
            # a chunk with one voice needs no separation
            several = [chunk for place, chunk in enumerate(batch) if len(plan.voices_of(index + place)) > 1]
            separated = iter(self.separate_chunks(several) if several else [])
            for chunk in batch:
                voices = plan.assignment[index]
                estimates = next(separated) if len(np.unique(voices)) > 1 else chunk.samples.unsqueeze(1)
                tracks = estimates.new_zeros(len(estimates), plan.num_voices + 1, estimates.shape[-1])
                tracks.index_add_(1, torch.from_numpy(voices[: estimates.shape[1]]), estimates)
                tracks[:, -1] = chunk.samples
                joined = overlap_add.add(tracks, chunk.is_last)
                yield gate_tracks(joined, plan.activity, num_finished, self.sampling_rate)
                num_finished += joined.shape[-1]
                index += 1

    def cut(self, blocks: Iterable[torch.Tensor]) -> Iterator[Chunk]:
        """The chunks of a recording."""
        return cut_recording(blocks, self.window_length, self.hop_length)

    def separate_chunks(self, chunks: list[Chunk]) -> list[torch.Tensor]:
        """The estimates of each chunk, `(num_channels, num_estimates, num_samples)`, in one order in all channels."""
        if self.separator.chunk_length < self.window_length:
            estimates = [self.separator.separate(chunk.samples) for chunk in chunks]
        else:
            estimates = [part.estimates for part in self.separator.separate_chunks(chunks).split(chunks)]
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
        active = _find_dominant(powers, mixture_powers)
        return ChunkSummary(mixture_powers, powers, self.embed(heard, active))

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
        weights = torch.from_numpy(weights)
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
    )


def _find_dominant(powers: np.ndarray, mixture_powers: np.ndarray) -> np.ndarray:
    """
    Frames in which an estimate contains a voice that is not a leak of another estimate.

    `(num_estimates, num_frames)` and `(num_frames,)` -> bool `(num_estimates, num_frames)`
    """
    levels = to_db(powers)
    loud = to_db(mixture_powers).max() - CHUNK_RANGE_DB
    return (levels > loud) & (levels > levels.max(axis=0) - DOMINANCE_DB)


def _make_plan(summaries: list[ChunkSummary], separator: ConversationSeparator, num_samples: int) -> ConversationPlan:
    """Cluster the data of the first pass, and compute the activity of each voice."""
    duration_s = num_samples / separator.sampling_rate
    frames_per_hop = separator.hop_length / frame_length(separator.sampling_rate)
    num_frames = -(-num_samples // frame_length(separator.sampling_rate))
    starts = [round(index * frames_per_hop) for index in range(len(summaries))]
    mixture_powers = np.zeros(num_frames)
    for start, summary in zip(starts, summaries, strict=True):
        _place_frames(mixture_powers, start, summary.mixture_powers)
    threshold_db = find_threshold_db(mixture_powers)
    evidence = gather_evidence(summaries, threshold_db)
    if np.isinf(threshold_db):
        return ConversationPlan(np.zeros(evidence.speech_s.shape, int), np.zeros((0, num_frames), bool), duration_s)
    voices = find_voices(evidence, separator.num_speakers, separator.max_speakers)
    powers = _join_powers(summaries, starts, voices.assignment, num_frames)
    activity = find_activity(powers, threshold_db)
    return _order_voices(ConversationPlan(voices.assignment, activity, duration_s))


def _place_frames(powers: np.ndarray, start: int, values: np.ndarray) -> None:
    """Write the frames of a chunk, the last of which may lie after the end."""
    stop = min(start + len(values), len(powers))
    powers[start:stop] = values[: stop - start]


def gather_evidence(summaries: list[ChunkSummary], threshold_db: float) -> VoiceEvidence:
    """The inputs of clustering."""
    speech_s, alone_s = [], []
    for summary in summaries:
        active = _find_dominant(summary.powers, summary.mixture_powers) & (to_db(summary.powers) > threshold_db)
        speech_s.append(active.sum(axis=1) / FRAMES_PER_S)
        alone_s.append((active & (active.sum(axis=0) == 1)).sum(axis=1) / FRAMES_PER_S)
    levels = [np.sqrt(summary.powers.mean(axis=1)) for summary in summaries]
    embeddings = [summary.embeddings for summary in summaries]
    return VoiceEvidence(np.stack(embeddings), np.stack(speech_s), np.stack(alone_s), np.stack(levels))


def _join_powers(
    summaries: list[ChunkSummary], starts: list[int], assignment: np.ndarray, num_frames: int
) -> np.ndarray:
    """Powers of the frames of each voice's track, `(num_voices, num_frames)`, cross-faded as the track will be."""
    sums = np.zeros((assignment.max() + 1, num_frames))
    weights = np.zeros(num_frames)
    for start, summary, voices in zip(starts, summaries, assignment, strict=True):
        powers = np.zeros((len(sums), len(summary.mixture_powers)))
        np.add.at(powers, voices, summary.powers)
        if len(np.unique(voices)) == 1:
            powers[voices[0]] = summary.mixture_powers
        window = np.sin(np.pi * (np.arange(powers.shape[1]) + 0.5) / powers.shape[1]) ** 2 + 1e-6
        stop = min(start + powers.shape[1], num_frames)
        sums[:, start:stop] += (powers * window)[:, : stop - start]
        weights[start:stop] += window[: stop - start]
    return sums / np.maximum(weights, 1e-12)


def _order_voices(plan: ConversationPlan) -> ConversationPlan:
    """Number the voices by their first words; voices that never speak come last."""
    first = [np.flatnonzero(active)[0] if active.any() else len(active) for active in plan.activity]
    order = np.argsort(first, kind="stable")
    return ConversationPlan(order.argsort()[plan.assignment], plan.activity[order], plan.duration_s)


def gate_tracks(tracks: torch.Tensor, activity: np.ndarray, start: int, sampling_rate: int) -> torch.Tensor:
    """
    Silence each voice while it does not speak, and add its leak to the active voices.

    Args:
        tracks (`torch.Tensor` of shape `(num_channels, num_voices + 1, num_samples)`):
            The tracks, and the mixture.
        activity (bool `np.ndarray` of shape `(num_voices, num_frames)`):
            Of the whole recording.
        start (`int`):
            Start of the tracks in the recording, in samples.
        sampling_rate (`int`):
            In hertz.

    Returns:
        `torch.Tensor` of shape `(num_channels, num_voices, num_samples)`.
    """
    tracks, mixture = tracks[:, :-1], tracks[:, -1:]
    # fully open in each active frame, and closed 10 ms away from it
    places = (np.arange(start, start + tracks.shape[-1]) + 0.5) / frame_length(sampling_rate) - 0.5
    frames = np.arange(max(0, int(places[0])), min(activity.shape[1], int(places[-1]) + 2))
    gates = np.stack([np.interp(places, frames, active[frames]) for active in activity])
    gates = torch.from_numpy(np.minimum(1, 2 * gates)).float()
    gated = gates * tracks
    rest = gates.amax(dim=0) * mixture - gated.sum(dim=1, keepdim=True)
    return gated + rest * gates / gates.sum(dim=0).clamp(min=1e-6)


__all__ = [
    "CHUNK_RANGE_DB",
    "ChunkSummary",
    "ConversationPlan",
    "ConversationSeparator",
    "DOMINANCE_DB",
    "MIN_EMBEDDED_S",
    "VoiceEncoder",
    "WINDOW_S",
    "gate_tracks",
    "gather_evidence",
    "window_length",
]
