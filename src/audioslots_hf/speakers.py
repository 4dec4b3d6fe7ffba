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
"""The voices of a recording, found by clustering the embeddings of all estimates of all its chunks."""

import itertools
from dataclasses import dataclass

import numpy as np

from .activity import is_narrow_band


# Two estimates of one chunk count as two voices if their similarity to two voices exceeds that to one by this cosine.
JOIN_MARGIN = 0.05
# Once the number of voices is known, by more for each second in which both sound at once, because parts of one voice follow each other.
# Chosen on 60 full overlaps of validation speakers, which gain 0.4 dB, and on 12 conversations, which neither gain nor lose. Voices that are too
# many would keep apart by it, too.
TOGETHER_COST = 0.3
# With less speech an embedding is unreliable: no decision about voices uses it.
MIN_SPEECH_S = 0.6
# weight of a second with another voice, relative to one alone
OVERLAP_WEIGHT = 0.1
# Maximum number of estimates for the seeds, those with most speech: linkage takes quadratic time.
MAX_SEEDING = 600
MAX_ITERATIONS = 20
# number of cuts that are tried, below the cut into the requested number of clusters
NUM_CUTS = 10
# minimum speech of a voice in seconds, each of which is counted in two chunks, and as a share of all speech
MIN_VOICE_S = 1.0
MIN_VOICE_SHARE = 0.03
# Voices with more similar centroids are merged. The centroid of a voice with less than a minute of speech is less reliable, so it must
# differ more: it may have the second cosine, less the margin divided by the share of the voice in so many seconds of speech as there are,
# within these bounds: each second is counted in two chunks, so they are 12 and 20 s. A share is fair in short recordings, where nobody can
# speak for long. In long ones the share of few seconds would be too small.
# The cosines were chosen on conversations of validation speakers, 57 of 30 to 90 s and six of 300 s: they count 45 and five correctly, as do
# 0.74 to 0.78. The bounds were chosen on 410 other ones of 15 s: they count 343 correctly, where 20 s for both count 296, and no lone voice
# is taken for two.
MAX_SIMILARITY = 0.76
# By telephone voices are more alike: the middle between the most alike pair of validation voices, 0.73, and most parts of one voice, 0.84.
MAX_NARROW_SIMILARITY = 0.79
MAX_SHORT_SIMILARITY = 0.86
SHORT_VOICE_MARGIN = 0.1
SHARED_S = (24.0, 40.0)
# Nobody speaks twice at the same time: voices that sound together for this share of the longer one are two, however alike. Parts of one voice
# reach 0.17 in 63 conversations of validation speakers, true voices 0.25 and more in 95 % of their 100 full overlaps.
MIN_TOGETHER_SHARE = 0.2
MIN_TOGETHER_S = 0.5
# Below that share it is evidence, too: people interrupt each other, and parts of one voice follow each other. So two voices may be more alike by
# this cosine for each share of the longer one. Rooms and short recordings need it, where estimates are less pure, and so more alike. Of 121
# conversations of validation speakers, 69 of them in rooms, it counts 108 correctly in place of 105; 1.5 takes one more voice alone for two.
TOGETHER_BONUS = 1.0
DEFAULT_MAX_SPEAKERS = 6
# in place of a number of people: it is to be found, or the outputs of the model as they are
AUTO = "auto"
OUTPUTS = "outputs"


@dataclass
class VoiceEvidence:
    """
    The inputs of clustering for the estimates of the chunks of a recording.

    Args:
        embeddings (`np.ndarray` of shape `(num_chunks, num_estimates, embedding_size)`):
            Embeddings of length 1; arbitrary values for an estimate without speech.
        speech_s (`np.ndarray` of shape `(num_chunks, num_estimates)`):
            Seconds of speech in an estimate, without leaks of another one.
        alone_s (`np.ndarray` of shape `(num_chunks, num_estimates)`):
            Seconds of it in which no other estimate of the chunk contains speech.
        levels (`np.ndarray` of shape `(num_chunks, num_estimates)`):
            Amplitude of each estimate.
        band_energies (`np.ndarray` of shape `(num_chunks, 2)`, *optional*):
            [`~activity.band_energies`] of the mixture; by default those of wide-band speech.
        panning (`np.ndarray` of shape `(num_chunks, num_estimates, num_differences)`, *optional*):
            From [`~panning.embed_panning`]; by default there are no differences.
    """

    embeddings: np.ndarray
    speech_s: np.ndarray
    alone_s: np.ndarray
    levels: np.ndarray
    band_energies: np.ndarray | None = None
    panning: np.ndarray | None = None

    def __post_init__(self):
        if self.band_energies is None:
            self.band_energies = np.ones((len(self.levels), 2))
        if self.panning is None:
            self.panning = np.zeros((*self.levels.shape, 0))

    @property
    def weights(self) -> np.ndarray:
        """Reliability of each estimate for its voice, (num_chunks, num_estimates): highest for a voice alone, without leaks."""
        seconds = OVERLAP_WEIGHT * self.speech_s + self.alone_s
        return np.where(self.speech_s >= MIN_SPEECH_S, seconds * self.levels, 0.0)


@dataclass
class VoiceClusters:
    """
    The voices of a recording.

    Args:
        assignment (int `np.ndarray` of shape `(num_chunks, num_estimates)`):
            Voice of each estimate. Estimates of one chunk with the same voice are parts of it.
        centroids (`np.ndarray` of shape `(num_voices, embedding_size)`):
            Of length 1.
        score (`float`):
            Mean cosine between estimates and their voices, weighted by speech; joined estimates count [`JOIN_MARGIN`] more.
        panning (`np.ndarray` of shape `(num_voices, num_differences)`, *optional*):
            Mean panning, of length 1, where voices differ in it.
    """

    assignment: np.ndarray
    centroids: np.ndarray
    score: float
    panning: np.ndarray | None = None


def check_speakers(num_speakers: int | None, max_speakers: int | None) -> None:
    """Raise a `ValueError` unless the numbers of speakers are positive and fit each other."""
    for name, value in (("num_speakers", num_speakers), ("max_speakers", max_speakers)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ValueError(f"`{name}` is {value!r}: it must be a whole number of at least 1.")
    if num_speakers is not None and max_speakers is not None and num_speakers > max_speakers:
        raise ValueError(f"`num_speakers` ({num_speakers}) is more than `max_speakers` ({max_speakers}).")


def parse_speakers(num_speakers: int | str | None, max_speakers: int | None = None) -> tuple[int | None, int | None]:
    """
    Numbers of speakers as users give them, where `"auto"` leaves the number to be found, as `None` does.

    Raises:
        `ValueError`: they make no sense.
    """
    number = _read_number(num_speakers, AUTO)
    check_speakers(number, max_speakers)
    return number, max_speakers


def _read_number(num_speakers: int | str | None, *words: str) -> int | str | None:
    """A number of speakers as users give it, `None` for `"auto"`; a `ValueError` for text that is none of the words."""
    if isinstance(num_speakers, str) and num_speakers not in words:
        *others, last = ["a whole number", *map(repr, words)]
        raise ValueError(f"`num_speakers` is {num_speakers!r}: it must be {', '.join(others)} or {last}.")
    return None if num_speakers == AUTO else num_speakers


def wants_outputs(
    num_speakers: int | str | None, max_speakers: int | None = None, chunk_hop_length: int | None = None
) -> bool:
    """
    Whether users ask for the outputs of the model in place of people: by `"outputs"`, or by chunks of their own.

    Raises:
        `ValueError`: the options make no sense together.
    """
    number = _read_number(num_speakers, AUTO, OUTPUTS)
    is_named = number == OUTPUTS
    if is_named and max_speakers is not None:
        raise ValueError(f"`max_speakers` ({max_speakers}) bounds the people who are found: leave out 'outputs'.")
    if not is_named:
        check_speakers(number, max_speakers)
    if chunk_hop_length is None or is_named:
        return is_named
    if num_speakers is not None or max_speakers is not None:
        raise ValueError(
            f"`chunk_hop_length` ({chunk_hop_length}) cannot be combined with `num_speakers` or `max_speakers`: conversations have "
            "chunks of their own."
        )
    return True


def normalize(vectors: np.ndarray) -> np.ndarray:
    """Vectors of length 1 along the last dimension; zeros stay."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def assign_voices(
    evidence: VoiceEvidence, centroids: np.ndarray, together_cost: float = 0.0
) -> tuple[np.ndarray, float]:
    """
    The voice of every estimate, given the voices.

    Two estimates of one chunk are different people unless one voice explains both of them nearly as well as two, and they do not sound
    at once.

    Returns:
        `tuple` of the assignment, `(num_chunks, num_estimates)`, and the mean score of a second of speech.
    """
    num_chunks, num_estimates = evidence.speech_s.shape
    # every way to give the estimates of a chunk to voices: (num_states, num_estimates)
    states = np.array(list(itertools.product(range(len(centroids)), repeat=num_estimates)))
    similarities = evidence.speech_s[..., None] * (evidence.embeddings @ centroids.T)
    scores = np.zeros((num_chunks, len(states)))
    for estimate in range(num_estimates):
        scores += similarities[:, estimate, states[:, estimate]]
    # what is joined is rewarded by the speech of all but the longest of the estimates; those without speech are joined
    joined = states[:, :, None] == np.arange(len(centroids))
    scores += JOIN_MARGIN * _sum_joined(evidence.speech_s + 1e-6, joined)
    scores -= together_cost * _sum_joined(evidence.speech_s - evidence.alone_s, joined)
    best = scores.argmax(axis=1)
    total = max(float(evidence.speech_s.sum()), 1e-12)
    return states[best], float(scores[np.arange(num_chunks), best].sum()) / total


def _sum_joined(seconds: np.ndarray, joined: np.ndarray) -> np.ndarray:
    """
    Seconds of all but the longest of the estimates that a state gives to one voice.

    `(num_chunks, num_estimates)` and bool `(num_states, num_estimates, num_voices)` -> `(num_chunks, num_states)`
    """
    inside = np.where(joined, seconds[:, None, :, None], 0.0)
    return (inside.sum(axis=2) - inside.max(axis=2)).sum(axis=-1)


def _update_centroids(
    evidence: VoiceEvidence, assignment: np.ndarray, centroids: np.ndarray, min_similarity: float
) -> np.ndarray:
    """The weighted mean of the embeddings of each voice; a voice without any keeps its centroid."""
    weights = np.where(find_similarities(evidence, assignment, centroids) >= min_similarity, evidence.weights, 0)
    sums = np.stack(
        [((assignment == voice) * weights)[..., None] * evidence.embeddings for voice in range(len(centroids))]
    ).sum(axis=(1, 2))
    return normalize(np.where(np.abs(sums).sum(axis=-1, keepdims=True) > 0, sums, centroids))


def find_similarities(evidence: VoiceEvidence, assignment: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Cosine of each estimate and its voice: (num_chunks, num_estimates)"""
    return (evidence.embeddings * centroids[assignment]).sum(axis=-1)


def refine_clusters(
    evidence: VoiceEvidence, centroids: np.ndarray, min_similarity: float = -np.inf, together_cost: float = 0.0
) -> VoiceClusters:
    """
    Constrained k-means from first centroids on, until no estimate changes its voice.

    Estimates whose cosine to their voice is below `min_similarity` change no centroid.
    """
    assignment, score = assign_voices(evidence, centroids, together_cost)
    for _ in range(MAX_ITERATIONS):
        centroids = _update_centroids(evidence, assignment, centroids, min_similarity)
        before = assignment
        assignment, score = assign_voices(evidence, centroids, together_cost)
        if np.array_equal(assignment, before):
            break
    return VoiceClusters(assignment, centroids, score)


def _choose_seeding(evidence: VoiceEvidence) -> tuple[np.ndarray, np.ndarray]:
    """The estimates of most speech -> their embeddings `(num_chosen, embedding_size)` and weights `(num_chosen,)`."""
    weights = evidence.weights.ravel()
    chosen = np.sort(np.argsort(-weights, kind="stable")[:MAX_SEEDING])
    chosen = chosen[weights[chosen] > 0]
    return evidence.embeddings.reshape(len(weights), -1)[chosen], weights[chosen]


def _link_embeddings(embeddings: np.ndarray, counts: list[int]) -> list[np.ndarray]:
    """Average linkage of `(num_embeddings, embedding_size)`, cut into each of these counts of clusters -> their labels from 0 on."""
    try:
        from scipy.cluster.hierarchy import fcluster, linkage
    except ImportError as error:
        raise ImportError("Finding the voices of a recording needs SciPy: pip install scipy") from error
    if len(embeddings) == 1:
        return [np.zeros(1, int) for _ in counts]
    distances = np.maximum(1 - embeddings @ embeddings.T, 0)[np.triu_indices(len(embeddings), 1)]
    tree = linkage(distances, "average")
    return [fcluster(tree, count, "maxclust") - 1 for count in counts]


def _cluster_voices(evidence: VoiceEvidence, num_voices: int, together_cost: float = 0.0) -> VoiceClusters:
    """
    The clusters of a known number of voices: the best of several seeds.

    Seeds are the heaviest clusters at successive cuts of the tree: odd estimates become clusters of their own first.

    Raises:
        `ValueError`: there is too little speech for so many voices.
    """
    embeddings, weights = _choose_seeding(evidence)
    found: list[VoiceClusters] = []
    tried: set[tuple[int, ...]] = set()
    counts = list(range(num_voices, min(len(embeddings), num_voices + NUM_CUTS) + 1))
    for labels in _link_embeddings(embeddings, counts):
        heaviest = np.argsort(-np.bincount(labels, weights), kind="stable")[:num_voices]
        # the same clusters again give the same result
        members = tuple(np.where(np.isin(labels, heaviest), labels, -1).tolist())
        if len(heaviest) < num_voices or members in tried:
            continue
        tried.add(members)
        seeds = np.stack([(weights * (labels == voice)) @ embeddings for voice in heaviest])
        found.append(refine_clusters(evidence, normalize(seeds), together_cost=together_cost))
    if not found:
        raise ValueError(
            f"The recording holds too little speech for {num_voices} voices: only {len(embeddings)} estimates of its chunks tell "
            "who speaks."
        )
    return max(found, key=lambda clusters: clusters.score)


def count_voices(evidence: VoiceEvidence, max_voices: int) -> VoiceClusters:
    """
    The clusters of an unknown number of voices: of as many as are unlike each other.

    More voices explain every recording better. They are voices if their centroids, which many seconds of speech made,
    are less alike than two parts of one voice are, or if they sound at the same time. Voices that do so for a shorter time may
    be more alike than those that never do.
    """
    best = _cluster_voices(evidence, 1)
    most_alike = MAX_NARROW_SIMILARITY if is_narrow_band(evidence.band_energies) else MAX_SIMILARITY
    for num_voices in range(2, max_voices + 1):
        try:
            clusters = _cluster_voices(evidence, num_voices)
        except ValueError:
            # too little speech for more
            break
        speech_s = np.array([evidence.speech_s[clusters.assignment == voice].sum() for voice in range(num_voices)])
        first, second = np.triu_indices(num_voices, 1)
        similarities = (clusters.centroids[first] * clusters.centroids[second]).sum(axis=1)
        is_heard = speech_s.min() >= max(MIN_VOICE_S, MIN_VOICE_SHARE * speech_s.sum())
        shorter_s = np.maximum(np.minimum(speech_s[first], speech_s[second]), 1e-6)
        margins = SHORT_VOICE_MARGIN * np.clip(speech_s.sum(), *SHARED_S) / shorter_s
        limits = np.minimum(most_alike, MAX_SHORT_SIMILARITY - margins)
        together_s = sum_together(evidence, clusters.assignment, num_voices)[first, second]
        longer_s = np.maximum(speech_s[first], speech_s[second])
        limits += TOGETHER_BONUS * together_s / np.maximum(longer_s, 1e-6)
        are_together = together_s >= np.maximum(MIN_TOGETHER_S, MIN_TOGETHER_SHARE * longer_s)
        if not is_heard or ((similarities > limits) & ~are_together).any():
            break
        best = clusters
    return best


def sum_together(evidence: VoiceEvidence, assignment: np.ndarray, num_voices: int) -> np.ndarray:
    """Seconds in which two voices sound in two estimates of a chunk at the same time: (num_voices, num_voices), symmetric"""
    shared_s = evidence.speech_s - evidence.alone_s
    together_s = np.zeros((num_voices, num_voices))
    for first, second in itertools.combinations(range(assignment.shape[1]), 2):
        # with more than two estimates, the most it can be
        seconds = np.minimum(shared_s[:, first], shared_s[:, second])
        np.add.at(together_s, (assignment[:, first], assignment[:, second]), seconds)
    return together_s + together_s.T


def find_voices(
    evidence: VoiceEvidence, num_speakers: int | None = None, max_speakers: int | None = None
) -> VoiceClusters:
    """
    The voices of a recording.

    Args:
        evidence ([`VoiceEvidence`]):
            The estimates of all chunks.
        num_speakers (`int`, *optional*):
            Number of voices. By default it is found.
        max_speakers (`int`, *optional*):
            The most there may be.

    Raises:
        `ValueError`: the numbers make no sense, or there is too little speech for so many voices.
    """
    check_speakers(num_speakers, max_speakers)
    if not evidence.weights.any():
        # too little speech to tell: one voice
        size = evidence.embeddings.shape[-1]
        return VoiceClusters(np.zeros(evidence.speech_s.shape, int), np.zeros((1, size)), 0.0)
    if num_speakers is None:
        most = DEFAULT_MAX_SPEAKERS if max_speakers is None else max_speakers
        num_speakers = len(count_voices(evidence, most).centroids)
    return _cluster_voices(evidence, num_speakers, TOGETHER_COST)


__all__ = [
    "AUTO",
    "DEFAULT_MAX_SPEAKERS",
    "JOIN_MARGIN",
    "MAX_ITERATIONS",
    "MAX_NARROW_SIMILARITY",
    "MAX_SEEDING",
    "MAX_SHORT_SIMILARITY",
    "MAX_SIMILARITY",
    "MIN_SPEECH_S",
    "MIN_TOGETHER_S",
    "MIN_TOGETHER_SHARE",
    "MIN_VOICE_S",
    "MIN_VOICE_SHARE",
    "NUM_CUTS",
    "OUTPUTS",
    "OVERLAP_WEIGHT",
    "SHARED_S",
    "SHORT_VOICE_MARGIN",
    "TOGETHER_BONUS",
    "TOGETHER_COST",
    "VoiceClusters",
    "VoiceEvidence",
    "assign_voices",
    "check_speakers",
    "count_voices",
    "find_similarities",
    "find_voices",
    "normalize",
    "parse_speakers",
    "refine_clusters",
    "sum_together",
    "wants_outputs",
]
