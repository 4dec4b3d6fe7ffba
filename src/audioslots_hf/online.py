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

from collections.abc import Iterable, Iterator

import numpy as np
import torch

from .activity import FRAMES_PER_S, find_activity, find_spans, find_threshold_db, frame_length
from .chunking import Chunk, OverlapAdd
from .conversation import ConversationSeparator, VoiceEncoder, gate_tracks
from .separator import Separator
from .speakers import DEFAULT_MAX_SPEAKERS, VoiceEvidence, assign_voices, normalize
from .summaries import ChunkSummary, gather_evidence
from .turns import frame_window


# Thresholds of the cosine between an estimate and the mean of a voice. In 38 simulated conversations, 1 % of the estimates with a
# second of speech alone lie below 0.44 of their own voice, and 95 % below 0.48 of other voices.
NEW_SIMILARITY = 0.42
# where the number of people is known, new ones are expected
EXPECTED_SIMILARITY = 0.5
UPDATE_SIMILARITY = 0.4
# two voices that are more alike are one
MERGE_SIMILARITY = 0.65
# an estimate founds a voice with so much speech alone, or, if it is less like every voice, with so much beside another voice
MIN_NEW_S = 0.7
MIN_NEW_OVERLAPPED_S = 0.8
OVERLAPPED_SIMILARITY = 0.35
# a voice with less speech that stays silent for longer was none
MIN_VOICE_S = 2.5
FORGET_S = 10.0
# levels and noise are those of the last minute
HISTORY_S = 60.0


class OnlineVoices:
    """
    The voices so far: the running mean of their embeddings.

    A new voice takes the first free track. Voices of little speech are forgotten, and voices that turn out to be one are merged;
    both free a track.

    Args:
        num_tracks (`int`):
            The most voices.
        new_similarity (`float`, *optional*, defaults to 0.42):
            An estimate with a lower cosine to every voice founds a new one.
    """

    def __init__(self, num_tracks: int, new_similarity: float = NEW_SIMILARITY):
        self.num_tracks = num_tracks
        self.new_similarity = new_similarity
        # sums of weighted embeddings, seconds of speech and the last chunk of each voice, by track
        self.sums: dict[int, np.ndarray] = {}
        self.speech_s: dict[int, float] = {}
        self.last_chunk: dict[int, int] = {}
        self.num_chunks = 0

    def assign(self, evidence: VoiceEvidence, hop_s: float) -> np.ndarray:
        """
        The track of each estimate of the next chunk, which begins `hop_s` after the last one.

        `evidence` is that of one chunk; the result has shape `(num_estimates,)`.
        """
        embeddings, weights = evidence.embeddings[0], evidence.weights[0]
        self._forget(hop_s)
        self._found(evidence)
        tracks = sorted(self.sums)
        if not tracks:
            # the first words: there is nobody else yet
            return np.zeros(len(embeddings), int)
        centroids = normalize(np.stack([self.sums[track] for track in tracks]))
        places = assign_voices(evidence, centroids)[0][0]
        similarities = embeddings @ centroids.T
        for estimate, place in enumerate(places):
            track = tracks[place]
            if weights[estimate] > 0 and similarities[estimate, place] >= UPDATE_SIMILARITY:
                self.sums[track] = self.sums[track] + weights[estimate] * embeddings[estimate]
                self.speech_s[track] += float(evidence.speech_s[0, estimate])
                self.last_chunk[track] = self.num_chunks
        self.num_chunks += 1
        return self._merge()[np.array(tracks)[places]]

    def _found(self, evidence: VoiceEvidence) -> None:
        """Open a track for each estimate that is like no voice so far."""
        embeddings, speech_s, alone_s = evidence.embeddings[0], evidence.speech_s[0], evidence.alone_s[0]
        for estimate in np.argsort(-alone_s, kind="stable"):
            free = [track for track in range(self.num_tracks) if track not in self.sums]
            if not free or evidence.weights[0, estimate] == 0:
                continue
            limit = -np.inf
            if alone_s[estimate] >= MIN_NEW_S:
                limit = self.new_similarity
            elif speech_s[estimate] >= MIN_NEW_OVERLAPPED_S:
                limit = OVERLAPPED_SIMILARITY
            known = [embeddings[estimate] @ normalize(total) for total in self.sums.values()]
            if not known or max(known) < limit:
                # nearly without weight: the estimate itself is added when it is assigned
                self.sums[free[0]] = 1e-6 * embeddings[estimate]
                self.speech_s[free[0]] = 0.0
                self.last_chunk[free[0]] = self.num_chunks

    def _forget(self, hop_s: float) -> None:
        """Free the tracks of voices that were heard once, and not again."""
        for track, chunk in list(self.last_chunk.items()):
            if self.speech_s[track] < MIN_VOICE_S and (self.num_chunks - chunk) * hop_s > FORGET_S:
                self._remove(track)

    def _merge(self) -> np.ndarray:
        """Join voices that are one -> the track that each track became, `(num_tracks,)`."""
        became = np.arange(self.num_tracks)
        while len(self.sums) > 1:
            tracks = sorted(self.sums)
            centroids = normalize(np.stack([self.sums[track] for track in tracks]))
            similarities = np.triu(centroids @ centroids.T, 1)
            first, second = np.unravel_index(similarities.argmax(), similarities.shape)
            if similarities[first, second] <= MERGE_SIMILARITY:
                break
            # the one with more speech keeps its track
            keeper, other = sorted((tracks[first], tracks[second]), key=lambda track: -self.speech_s[track])
            self.sums[keeper] = self.sums[keeper] + self.sums[other]
            self.speech_s[keeper] += self.speech_s[other]
            self.last_chunk[keeper] = max(self.last_chunk[keeper], self.last_chunk[other])
            self._remove(other)
            became[became == other] = keeper
        return became

    def _remove(self, track: int) -> None:
        for values in (self.sums, self.speech_s, self.last_chunk):
            del values[track]


class TrackPowers:
    """
    Powers of the frames of the tracks and of the mixture in the last minute, from which their activity is found.

    Args:
        num_tracks (`int`):
            Number of tracks.
        frames_per_hop (`float`):
            Frames of 20 ms from one chunk to the next.
    """

    def __init__(self, num_tracks: int, frames_per_hop: float):
        self.frames_per_hop = frames_per_hop
        self.first_frame = 0
        self.num_chunks = 0
        # the last row is the mixture
        self.sums = np.zeros((num_tracks + 1, 0))
        self.weights = np.zeros(0)

    @property
    def start(self) -> int:
        """The first frame of the next chunk, in the remembered frames."""
        return round(self.num_chunks * self.frames_per_hop) - self.first_frame

    @property
    def powers(self) -> np.ndarray:
        """`(num_tracks + 1, num_frames)`"""
        return self.sums / np.maximum(self.weights, 1e-12)

    def hear(self, summary: ChunkSummary) -> float:
        """Add the mixture of the next chunk -> the level in dB above which frames are speech, infinite without speech."""
        num_missing = max(0, self.start + len(summary.mixture_powers) - self.sums.shape[1])
        self.sums = np.pad(self.sums, ((0, 0), (0, num_missing)))
        self.weights = np.pad(self.weights, (0, num_missing))
        window = frame_window(len(summary.mixture_powers))
        frames = slice(self.start, self.start + len(window))
        self.sums[-1, frames] += window * summary.mixture_powers
        self.weights[frames] += window
        return find_threshold_db(self.powers[-1])

    def place(self, summary: ChunkSummary, tracks: np.ndarray) -> None:
        """Add the estimates of the chunk that was heard last to their tracks."""
        powers = np.zeros((len(self.sums) - 1, len(summary.mixture_powers)))
        np.add.at(powers, tracks, summary.powers)
        if len(np.unique(tracks)) == 1:
            powers[tracks[0]] = summary.mixture_powers
        window = frame_window(len(summary.mixture_powers))
        self.sums[:-1, self.start : self.start + len(window)] += window * powers
        self.num_chunks += 1
        num_old = max(0, self.sums.shape[1] - round(HISTORY_S * FRAMES_PER_S))
        self.sums, self.weights = self.sums[:, num_old:], self.weights[num_old:]
        self.first_frame += num_old


class OnlineConversation:
    """
    Separates a conversation while it goes on: a track for each voice, silent where it does not speak.

    Where [`ConversationSeparator`] hears a recording twice, this hears it once, and never corrects what it has given. Chunks of 2 s,
    one each second, are separated. Every estimate goes to the voice whose mean embedding is nearest, or founds a voice of its own
    while there are free tracks. A voice that pauses, for however long, returns to its track.

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
            order of the first words; those of people who have not spoken yet are zero.
        """
        conversation = self.conversation
        hop_s = conversation.hop_length / self.sampling_rate
        is_known = conversation.num_speakers is not None
        voices = OnlineVoices(self.num_tracks, EXPECTED_SIMILARITY if is_known else NEW_SIMILARITY)
        powers = TrackPowers(self.num_tracks, conversation.hop_length / frame_length(self.sampling_rate))
        overlap_add = OverlapAdd(conversation.window_length, conversation.hop_length)
        self._activity = [np.zeros((self.num_tracks, 0), bool)]
        num_finished = num_known = 0
        for chunk in conversation.cut(blocks):
            # one chunk at a time: a batch would wait for the future
            [estimates] = conversation.separate_chunks([chunk])
            summary = conversation.summarize(chunk.samples, estimates)
            threshold_db = powers.hear(summary)
            tracks = voices.assign(gather_evidence([summary], threshold_db), hop_s)
            powers.place(summary, tracks)
            joined = overlap_add.add(self._place(chunk, estimates, tracks), chunk.is_last)
            activity = np.zeros((self.num_tracks, powers.sums.shape[1]), bool)
            if np.isfinite(threshold_db):
                activity = find_activity(powers.powers[:-1], threshold_db)
            start = num_finished - powers.first_frame * frame_length(self.sampling_rate)
            num_finished += joined.shape[-1]
            yield gate_tracks(joined, activity, start, self.sampling_rate)
            num_frames = -(-num_finished // frame_length(self.sampling_rate))
            self._activity.append(activity[:, num_known - powers.first_frame : num_frames - powers.first_frame])
            num_known = num_frames

    def _place(self, chunk: Chunk, estimates: torch.Tensor, tracks: np.ndarray) -> torch.Tensor:
        """The estimates of a chunk on their tracks, and the mixture, `(num_channels, num_tracks + 1, num_samples)`."""
        if len(np.unique(tracks)) == 1:
            estimates, tracks = chunk.samples.unsqueeze(1), tracks[:1]
        placed = estimates.new_zeros(len(estimates), self.num_tracks + 1, estimates.shape[-1])
        placed.index_add_(1, torch.from_numpy(tracks), estimates)
        placed[:, -1] = chunk.samples
        return placed


__all__ = [
    "EXPECTED_SIMILARITY",
    "FORGET_S",
    "HISTORY_S",
    "MERGE_SIMILARITY",
    "MIN_NEW_OVERLAPPED_S",
    "MIN_NEW_S",
    "MIN_VOICE_S",
    "NEW_SIMILARITY",
    "OVERLAPPED_SIMILARITY",
    "OnlineConversation",
    "OnlineVoices",
    "TrackPowers",
    "UPDATE_SIMILARITY",
]
