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
"""Conversations as they happen: one track for each voice of a stream, with a latency of a chunk."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from .activity import FRAMES_PER_S, find_spans, find_threshold_db, frame_length, loud_level_db, to_db
from .chunking import Chunk, OverlapAdd
from .conversation import ConversationSeparator, VoiceEncoder
from .online_voices import OnlineVoices
from .placing import gate_tracks, place_chunk
from .separator import Separator
from .speakers import DEFAULT_MAX_SPEAKERS, VoiceClusters
from .summaries import ChunkSummary, find_chunk_turns, gather_evidence
from .turns import MAX_LOG_ODDS, ChunkTurns, cross_fade, decide_activity, widen_activity


# levels and noise are those of the last minute
HISTORY_S = 60.0


@dataclass
class RecentChunk:
    """A chunk of the last minute. Its samples, estimates and embeddings are kept until no later chunk overlaps it."""

    chunk: Chunk | None
    estimates: torch.Tensor | None
    summary: ChunkSummary
    turns: ChunkTurns


class RecentTurns:
    """
    Who spoke when in the last minute, from the turns of its chunks.

    The last two chunks are decided anew whenever a chunk comes: a voice that is new in it may have begun in the one before.

    Args:
        num_tracks (`int`):
            Number of tracks.
        frames_per_hop (`float`):
            Frames of 20 ms from one chunk to the next.
    """

    def __init__(self, num_tracks: int, frames_per_hop: float):
        self.num_tracks = num_tracks
        self.frames_per_hop = frames_per_hop
        self.num_chunks = 0
        self.chunks: deque[RecentChunk] = deque(maxlen=round(HISTORY_S * FRAMES_PER_S / frames_per_hop))
        self.mixture_powers = np.zeros(0)

    @property
    def first_frame(self) -> int:
        """The first frame that is remembered."""
        return round((self.num_chunks - len(self.chunks)) * self.frames_per_hop)

    def add(self, chunk: Chunk, estimates: torch.Tensor, summary: ChunkSummary) -> float:
        """Add the next chunk -> the level in dB above which frames are speech, infinite without speech."""
        size = (self.num_tracks, summary.powers.shape[1])
        assignment = np.full(summary.window_embeddings.shape[:2], -1)
        nobody = ChunkTurns(assignment, np.full(size, -MAX_LOG_ODDS), np.zeros(size))
        self.chunks.append(RecentChunk(chunk, estimates, summary, nobody))
        self.num_chunks += 1
        if len(self.chunks) > 2:
            old = self.chunks[-3]
            old.chunk = old.estimates = None
            old.summary = replace(old.summary, window_embeddings=old.summary.window_embeddings[:0])
        self.mixture_powers = self._join(recent.summary.mixture_powers[None] for recent in self.chunks)[0]
        return find_threshold_db(self.mixture_powers)

    def decide(self, tracks: np.ndarray, voices: VoiceClusters, threshold_db: float) -> np.ndarray:
        """
        Decide the turns of the last two chunks -> the activity of the tracks in the last minute, `(num_tracks, num_frames)`.

        `tracks` and `voices` are those of [`~online_voices.OnlineVoices.describe`].
        """
        if np.isinf(threshold_db):
            return np.zeros((self.num_tracks, len(self.mixture_powers)), bool)
        loud_db = loud_level_db(to_db(self.mixture_powers))
        for recent in list(self.chunks)[-2:]:
            turns = find_chunk_turns(recent.summary, voices, threshold_db, loud_db)
            recent.turns = spread_turns(turns, tracks, self.num_tracks)
        silent = [track for track in range(self.num_tracks) if track not in tracks]
        for recent in self.chunks:
            # what was said on a track that was freed is no evidence for the next voice there
            recent.turns.log_odds[silent] = -MAX_LOG_ODDS
        log_odds, powers = (
            self._join(getattr(recent.turns, name) for recent in self.chunks) for name in ("log_odds", "powers")
        )
        return decide_activity(log_odds, powers, self.mixture_powers, threshold_db)

    def _join(self, parts: Iterable[np.ndarray]) -> np.ndarray:
        """Values of the frames of all chunks -> `(num_rows, num_frames)`"""
        first = self.num_chunks - len(self.chunks)
        starts = [round((first + place) * self.frames_per_hop) - self.first_frame for place in range(len(self.chunks))]
        return cross_fade(parts, starts, starts[-1] + len(self.chunks[-1].summary.mixture_powers))


def spread_turns(turns: ChunkTurns, tracks: np.ndarray, num_tracks: int) -> ChunkTurns:
    """The turns of voices, whose tracks are given, as turns of all tracks."""
    log_odds = np.full((num_tracks, turns.log_odds.shape[1]), -MAX_LOG_ODDS)
    powers = np.zeros(log_odds.shape)
    log_odds[tracks], powers[tracks] = turns.log_odds, turns.powers
    return ChunkTurns(tracks[turns.assignment], log_odds, powers)


class OnlineConversation:
    """
    Separates a conversation while it goes on: a track for each voice, silent where it does not speak.

    Where [`ConversationSeparator`] hears a recording twice, this hears it once, and never corrects what it has given. Chunks of 2 s,
    one each second, are separated. An estimate that is like no voice so far founds one while there are free tracks.
    [`~turns.find_turns`] then decides for each fifth of a second of the last two chunks who speaks, as in the two passes. A voice that
    pauses, for however long, returns to its track.

    Latency: a sample comes back when the chunk of 2 s that begins at it, or up to 1 s before it, is complete and separated. So it is
    1 to 2 s old, plus the length of one block and the time of computing one chunk.

    Example:

    ```python
    >>> conversation = load_separator().online_conversation(max_speakers=3)
    >>> for tracks in conversation.stream(blocks):  # (1, 3, num_samples)
    ...     ...
    ```

    Args:
        separator ([`Separator`]):
            Computes the estimates.
        encoder (callable):
            Voice encoder, as for [`ConversationSeparator`].
        num_speakers (`int`, *optional*):
            Number of people who speak: the number of tracks.
        max_speakers (`int`, *optional*):
            Number of tracks if the number of people is unknown. Defaults to 6.

    Attributes:
        latency_s (`float`): the most seconds from a sample to its track, without the length of a block and the time of computing.

    Raises:
        `ValueError`: a number of speakers is invalid.
    """

    def __init__(
        self,
        separator: Separator,
        encoder: VoiceEncoder,
        num_speakers: int | None = None,
        max_speakers: int | None = None,
    ):
        self.conversation = ConversationSeparator(separator, encoder, num_speakers, max_speakers)
        self.sampling_rate = separator.sampling_rate
        self.num_tracks = num_speakers or max_speakers or DEFAULT_MAX_SPEAKERS
        self.latency_s = self.conversation.window_length / self.sampling_rate
        self._activity = [np.zeros((self.num_tracks, 0), bool)]

    @property
    def activity(self) -> np.ndarray:
        """Whether each track contained speech so far, bool `(num_tracks, num_frames)`, in frames of 20 ms."""
        return np.concatenate(self._activity, axis=1)

    @property
    def segments(self) -> list[list[tuple[float, float]]]:
        """Start and end, in seconds, of the segments of each track so far."""
        return [
            [(start / FRAMES_PER_S, stop / FRAMES_PER_S) for start, stop in find_spans(active)]
            for active in self.activity
        ]

    def stream(self, blocks: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
        """
        Separate a recording, or audio that is still being recorded, in bounded memory.

        Args:
            blocks (iterable of `torch.Tensor` of shape `(num_channels, num_samples)`):
                Successive parts at the model's sampling rate, of any lengths.

        Yields:
            `torch.Tensor` of shape `(num_channels, num_tracks, num_samples)`: the tracks of successive samples. Tracks are in the
            order of the first words; those of people who have not spoken yet are zero. They have no DC offset.
        """
        conversation = self.conversation
        hop_s = conversation.hop_length / self.sampling_rate
        voices = OnlineVoices(self.num_tracks, is_known=conversation.num_speakers is not None)
        recent = RecentTurns(self.num_tracks, conversation.hop_length / frame_length(self.sampling_rate))
        self._activity = [np.zeros((self.num_tracks, 0), bool)]
        num_finished = num_known = 0
        for chunk in conversation.cut(blocks):
            # one chunk at a time: a batch would wait for the future
            [estimates] = conversation.separate_chunks([chunk], is_final=True)
            summary = conversation.summarize(chunk.samples, estimates)
            threshold_db = recent.add(chunk, estimates, summary)
            voices.assign(gather_evidence([summary], threshold_db), hop_s)
            tracks, known = voices.describe()
            activity = recent.decide(tracks, known, threshold_db)
            panning = None
            if known.panning is not None:
                panning = np.zeros((self.num_tracks, known.panning.shape[-1]))
                panning[tracks] = known.panning
            joined = self._join(list(recent.chunks)[-2:], panning)
            start = num_finished - recent.first_frame * frame_length(self.sampling_rate)
            num_finished += joined.shape[-1]
            yield gate_tracks(joined, widen_activity(activity), start, self.sampling_rate)
            num_frames = -(-num_finished // frame_length(self.sampling_rate))
            self._activity.append(activity[:, num_known - recent.first_frame : num_frames - recent.first_frame])
            num_known = num_frames

    def _join(self, chunks: list[RecentChunk], panning: np.ndarray | None) -> torch.Tensor:
        """The last chunks on their tracks, and the mixture, up to where the next one begins."""
        overlap_add = OverlapAdd(self.conversation.window_length, self.conversation.hop_length)
        for recent in chunks:
            place = (recent.turns.assignment, self.num_tracks, self.sampling_rate, panning)
            joined = overlap_add.add(place_chunk(recent.chunk, recent.estimates, *place), recent.chunk.is_last)
        return joined


__all__ = [
    "HISTORY_S",
    "OnlineConversation",
    "RecentChunk",
    "RecentTurns",
    "spread_turns",
]
