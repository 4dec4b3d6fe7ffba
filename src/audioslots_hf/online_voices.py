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
"""The voices of a conversation so far: found, refined, forgotten and merged while it goes on."""

from collections import deque
from collections.abc import Iterable

import numpy as np
import torch

from .matching import UNMATCHED, match_estimates
from .panning import are_panned, locate_voices
from .speakers import (
    TOGETHER_COST,
    VoiceClusters,
    VoiceEvidence,
    assign_voices,
    find_similarities,
    find_voices,
    normalize,
    refine_clusters,
)


# Thresholds of the cosine between an estimate and the mean of a voice. In 63 simulated conversations, 1 % of the estimates with 0.7 s
# of speech alone lie below 0.49 of their own voice, and 92 % below 0.46 of other voices.
NEW_SIMILARITY = 0.49
# where the number of people is known, new ones are expected
EXPECTED_SIMILARITY = 0.56
UPDATE_SIMILARITY = 0.46
# two voices that are more alike are one
MERGE_SIMILARITY = 0.66
# an estimate founds a voice with so much speech alone, or, if it is less like every voice, with so much beside another voice
MIN_NEW_S = 0.7
MIN_NEW_OVERLAPPED_S = 0.8
OVERLAPPED_SIMILARITY = 0.42
# the voices are found anew so often, the first time after so much, and if known in number, they must explain so much more
CLUSTERING_S = 5.0
FIRST_CLUSTERING_S = 15.0
MIN_GAIN = 0.003
# a voice with less speech that stays silent for longer was none
MIN_VOICE_S = 2.5
FORGET_S = 10.0
# the voices are those of the last minutes
VOICE_HISTORY_S = 300.0


class OnlineVoices:
    """
    The voices so far: the means of their embeddings in the last minutes.

    A new voice takes the first free track. With each chunk the voices are refined by constrained k-means over the last minutes, and every
    few seconds they are found anew there, so that an early error does not last. Voices of little speech are forgotten, and voices that
    turn out to be one are merged; both free a track.

    Args:
        num_tracks (`int`):
            The most voices.
        is_known (`bool`, *optional*, defaults to `False`):
            Whether so many people speak, sooner or later.
    """

    def __init__(self, num_tracks: int, is_known: bool = False):
        self.num_tracks = num_tracks
        self.is_known = is_known
        # mean embeddings and panning of length 1, seconds of speech and the last chunk of each voice, by track
        self.centroids: dict[int, np.ndarray] = {}
        self.panning: dict[int, np.ndarray] = {}
        self.speech_s: dict[int, float] = {}
        self.last_chunk: dict[int, int] = {}
        self.num_chunks = 0
        self._evidence: deque[VoiceEvidence] = deque()

    def assign(self, evidence: VoiceEvidence, hop_s: float) -> np.ndarray:
        """
        The track of each estimate of the next chunk, which begins `hop_s` after the last one.

        `evidence` is that of one chunk; the result has shape `(num_estimates,)`.
        """
        self._forget(hop_s)
        self._found(evidence)
        self._evidence.append(evidence)
        if len(self._evidence) * hop_s > VOICE_HISTORY_S:
            self._evidence.popleft()
        self.num_chunks += 1
        tracks = sorted(self.centroids)
        if not tracks:
            # the first words: there is nobody else yet
            return np.zeros(evidence.speech_s.shape[1], int)
        voices = self._refine(tracks)
        found = self._merge()[np.array(tracks)[voices]]
        seconds = self.num_chunks * hop_s
        if seconds >= FIRST_CLUSTERING_S and seconds // CLUSTERING_S > (seconds - hop_s) // CLUSTERING_S:
            self._cluster()
        return found

    def describe(self) -> tuple[np.ndarray, VoiceClusters]:
        """The tracks that have a voice, and these voices, with their panning where they are panned."""
        past = join_evidence(self._evidence)
        # before the first words, the first track is that of a voice of which nothing is known
        tracks = sorted(self.centroids) or [0]
        size, num_differences = past.embeddings.shape[-1], past.panning.shape[-1]
        centroids = np.stack([self.centroids.get(track, np.zeros(size)) for track in tracks])
        panning = np.stack([self.panning.get(track, np.zeros(num_differences)) for track in tracks])
        voices = VoiceClusters(np.zeros(0, int), centroids, 0.0, panning if are_panned(past) else None)
        return np.array(tracks), voices

    def _refine(self, tracks: list[int]) -> np.ndarray:
        """Find the voices on these tracks anew, from the last minutes -> that of each estimate of the last chunk, as a place in `tracks`."""
        past = join_evidence(self._evidence)
        found = refine_clusters(past, np.stack([self.centroids[track] for track in tracks]), UPDATE_SIMILARITY)
        similarities = find_similarities(past, found.assignment, found.centroids)
        is_trusted = (past.weights > 0) & (similarities >= UPDATE_SIMILARITY)
        for place, track in enumerate(tracks):
            own = is_trusted & (found.assignment == place)
            # a voice that was silent for minutes stays as it was
            if own.any():
                self._hear(track, found.centroids[place], past, own)
        return found.assignment[-1]

    def _cluster(self) -> None:
        """Find the voices of the last minutes as in a recording, and take those where they explain more."""
        past = join_evidence(self._evidence)
        # a voice that was silent for minutes stays as it was
        tracks = [
            track for track in sorted(self.centroids) if self.num_chunks - self.last_chunk[track] <= len(past.levels)
        ]
        if not tracks or not past.weights.any():
            return
        is_complete = self.is_known and len(self.centroids) == self.num_tracks
        most = self.num_tracks - len(self.centroids) + len(tracks)
        try:
            found = locate_voices(past, find_voices(past, len(tracks) if is_complete else None, most))
        except ValueError:
            # too little speech for so many
            return
        before, score = assign_voices(past, np.stack([self.centroids[track] for track in tracks]), TOGETHER_COST)
        if is_complete and found.score < score + MIN_GAIN:
            return
        # each keeps the track on which most of its speech was
        owned = [past.weights * (found.assignment == voice) for voice in range(len(found.centroids))]
        shared = [[(own * (before == place)).sum() for place in range(len(tracks))] for own in owned]
        order = match_estimates(-torch.tensor(shared)[None])[0].tolist()
        track_of_voice = {voice: tracks[place] for place, voice in enumerate(order) if voice != UNMATCHED}
        for track in set(tracks) - set(track_of_voice.values()):
            self._remove(track)
        for voice, own in enumerate(owned):
            free = [track for track in range(self.num_tracks) if track not in self.centroids]
            track = track_of_voice[voice] if voice in track_of_voice else free[0]
            self._hear(track, found.centroids[voice], past, own > 0)

    def _hear(self, track: int, centroid: np.ndarray, past: VoiceEvidence, own: np.ndarray) -> None:
        """Set the voice of a track, to which some estimates of the last chunks belong: bool `(num_chunks, num_estimates)`"""
        self.centroids[track] = centroid
        self.panning[track] = normalize(np.einsum("ce,ced->d", own * past.weights, past.panning))
        speech_s = float(past.speech_s[own].sum())
        # what was said before the last minutes counts, too
        is_all = len(past.levels) == self.num_chunks
        self.speech_s[track] = speech_s if is_all else max(self.speech_s.get(track, 0.0), speech_s)
        chunks = np.flatnonzero(own.any(axis=1))
        self.last_chunk[track] = self.num_chunks - len(own) + int(chunks[-1]) if len(chunks) else self.num_chunks

    def _found(self, evidence: VoiceEvidence) -> None:
        """Open a track for each estimate that is like no voice so far."""
        embeddings, speech_s, alone_s = evidence.embeddings[0], evidence.speech_s[0], evidence.alone_s[0]
        for estimate in np.argsort(-alone_s, kind="stable"):
            free = [track for track in range(self.num_tracks) if track not in self.centroids]
            if not free or evidence.weights[0, estimate] == 0:
                continue
            limit = -np.inf
            if alone_s[estimate] >= MIN_NEW_S:
                limit = EXPECTED_SIMILARITY if self.is_known else NEW_SIMILARITY
            elif speech_s[estimate] >= MIN_NEW_OVERLAPPED_S:
                limit = OVERLAPPED_SIMILARITY
            known = [embeddings[estimate] @ centroid for centroid in self.centroids.values()]
            if not known or max(known) < limit:
                self.centroids[free[0]] = normalize(embeddings[estimate])
                self.panning[free[0]] = evidence.panning[0, estimate]
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
        while len(self.centroids) > 1:
            tracks = sorted(self.centroids)
            centroids = np.stack([self.centroids[track] for track in tracks])
            similarities = np.triu(centroids @ centroids.T, 1)
            first, second = np.unravel_index(similarities.argmax(), similarities.shape)
            if similarities[first, second] <= MERGE_SIMILARITY:
                break
            # the one with more speech keeps its track
            keeper, other = sorted((tracks[first], tracks[second]), key=lambda track: -self.speech_s[track])
            for vectors in (self.centroids, self.panning):
                vectors[keeper] = normalize(sum(self.speech_s[track] * vectors[track] for track in (keeper, other)))
            self.speech_s[keeper] += self.speech_s[other]
            self.last_chunk[keeper] = max(self.last_chunk[keeper], self.last_chunk[other])
            self._remove(other)
            became[became == other] = keeper
        return became

    def _remove(self, track: int) -> None:
        for values in (self.centroids, self.panning, self.speech_s, self.last_chunk):
            del values[track]


def join_evidence(parts: Iterable[VoiceEvidence]) -> VoiceEvidence:
    """The evidence of successive chunks as one."""
    values = zip(
        *(
            (part.embeddings, part.speech_s, part.alone_s, part.levels, part.band_energies, part.panning)
            for part in parts
        ),
        strict=True,
    )
    return VoiceEvidence(*map(np.concatenate, values))


__all__ = [
    "CLUSTERING_S",
    "EXPECTED_SIMILARITY",
    "FIRST_CLUSTERING_S",
    "FORGET_S",
    "MERGE_SIMILARITY",
    "MIN_GAIN",
    "MIN_NEW_OVERLAPPED_S",
    "MIN_NEW_S",
    "MIN_VOICE_S",
    "NEW_SIMILARITY",
    "OVERLAPPED_SIMILARITY",
    "OnlineVoices",
    "UPDATE_SIMILARITY",
    "VOICE_HISTORY_S",
    "join_evidence",
]
