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
"""The stored data of the separated chunks of a conversation: levels, and embeddings of voices."""

from dataclasses import dataclass

import numpy as np

from .activity import FRAMES_PER_S, to_db
from .panning import PANNING_WEIGHT
from .speakers import VoiceClusters, VoiceEvidence
from .turns import ChunkTurns, find_turns


# within a chunk, before the level of the recording is known
CHUNK_RANGE_DB = 25.0
# frames in which another estimate is louder by this are not used for the embedding of a voice
DOMINANCE_DB = 10.0


@dataclass
class ChunkSummary:
    """
    The stored data of a chunk.

    Args:
        mixture_powers (`np.ndarray` of shape `(num_frames,)`), powers (`np.ndarray` of shape `(num_estimates, num_frames)`):
            Of the frames of 20 ms of the chunk and of its estimates.
        embeddings (`np.ndarray` of shape `(num_estimates, embedding_size)`):
            Of the speech in each estimate, length 1, or 0 without speech.
        window_embeddings (`np.ndarray` of shape `(num_windows, num_estimates, embedding_size)`):
            Of the windows of [`~turns.cut_windows`].
        panning (`np.ndarray` of shape `(num_estimates, num_differences)`):
            From [`~panning.embed_panning`].
        window_panning (`np.ndarray` of shape `(num_windows, num_estimates, num_differences)`):
            Of the windows.
        band_energies (`np.ndarray` of shape `(2,)`):
            [`~activity.band_energies`] of the mixture.
    """

    mixture_powers: np.ndarray
    powers: np.ndarray
    embeddings: np.ndarray
    window_embeddings: np.ndarray
    panning: np.ndarray
    window_panning: np.ndarray
    band_energies: np.ndarray


def find_dominant(powers: np.ndarray, mixture_powers: np.ndarray) -> np.ndarray:
    """
    Frames in which an estimate contains a voice that is not a leak of another estimate.

    `(num_estimates, num_frames)` and `(num_frames,)` -> bool `(num_estimates, num_frames)`
    """
    levels = to_db(powers)
    loud = to_db(mixture_powers).max() - CHUNK_RANGE_DB
    return (levels > loud) & (levels > levels.max(axis=0) - DOMINANCE_DB)


def find_speech(summary: ChunkSummary, threshold_db: float) -> np.ndarray:
    """Frames in which an estimate holds speech that is no leak: bool `(num_estimates, num_frames)`"""
    return find_dominant(summary.powers, summary.mixture_powers) & (to_db(summary.powers) > threshold_db)


def gather_evidence(summaries: list[ChunkSummary], threshold_db: float) -> VoiceEvidence:
    """The inputs of clustering."""
    speech_s, alone_s = [], []
    for summary in summaries:
        active = find_speech(summary, threshold_db)
        speech_s.append(active.sum(axis=1) / FRAMES_PER_S)
        alone_s.append((active & (active.sum(axis=0) == 1)).sum(axis=1) / FRAMES_PER_S)
    levels = [np.sqrt(summary.powers.mean(axis=1)) for summary in summaries]
    embeddings, bands, panning = (
        [getattr(summary, name) for summary in summaries] for name in ("embeddings", "band_energies", "panning")
    )
    return VoiceEvidence(*map(np.stack, (embeddings, speech_s, alone_s, levels, bands, panning)))


def find_chunk_turns(
    summary: ChunkSummary,
    voices: VoiceClusters,
    threshold_db: float,
    loud_db: float,
    assignment: np.ndarray | None = None,
) -> ChunkTurns:
    """The voices of a chunk by [`~turns.find_turns`], with speech above a level."""
    active = find_speech(summary, threshold_db)
    similarities = summary.window_embeddings.astype(np.float32) @ voices.centroids.T
    if voices.panning is not None:
        similarities += PANNING_WEIGHT * (summary.window_panning.astype(np.float32) @ voices.panning.T)
    return find_turns(similarities, active, summary.powers, summary.mixture_powers, loud_db, assignment)


__all__ = [
    "CHUNK_RANGE_DB",
    "ChunkSummary",
    "DOMINANCE_DB",
    "find_chunk_turns",
    "find_dominant",
    "find_speech",
    "gather_evidence",
]
