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
"""Conversations in which the truth takes the place of one part of the separation: how much that part loses."""

import itertools
from collections.abc import Iterable, Iterator

import numpy as np
import torch

from audioslots_hf import AudioSeparationPipeline
from audioslots_hf.activity import FRAMES_PER_S
from audioslots_hf.chunking import Chunk, cut_recording
from audioslots_hf.conversation import ConversationSeparator
from audioslots_hf.matching import UNMATCHED, match_estimates
from audioslots_hf.resampling import resample
from audioslots_hf.speakers import VoiceClusters, VoiceEvidence, normalize
from audioslots_hf.summaries import ChunkSummary, find_chunk_turns
from audioslots_hf.turns import FRAMES_PER_HOP, ChunkTurns
from training.data.conversations import Conversation


# the parts that are true, by the name of the experiment
TRUTHS = {
    "none": frozenset(),
    "clusters": frozenset({"clusters"}),
    "voices": frozenset({"clusters", "voices"}),
    "activity": frozenset({"activity"}),
    "both": frozenset({"clusters", "voices", "activity"}),
    "separation": frozenset({"separation"}),
}


class TrueConversationSeparator(ConversationSeparator):
    """
    Separates one conversation with parts that are true. The model and the voice encoder hear each chunk once, for all
    experiments.

    separation: each estimate of a chunk is a voice; where more speak in a chunk than the model has outputs, the quietest share one.
    clusters: the mean embedding of each voice is that of the estimates that are truly its own. voices: so is the voice of each
    estimate in each fifth of a second. activity: the frames in which each voice speaks.

    Args:
        pipeline ([`AudioSeparationPipeline`]):
            Its model and voice encoder.
        conversation ([`Conversation`]):
            The truth.
        sampling_rate (`int`):
            Of the conversation, in hertz.
        num_speakers (`int`, *optional*):
            Number of people. By default it is found.
    """

    def __init__(
        self,
        pipeline: AudioSeparationPipeline,
        conversation: Conversation,
        sampling_rate: int,
        num_speakers: int | None = None,
    ):
        super().__init__(pipeline.separator, pipeline.voice_encoder, num_speakers)
        self.references = resample(torch.from_numpy(conversation.references), sampling_rate, self.sampling_rate)
        self.active = conversation.active
        self.truths: frozenset[str] = frozenset()
        self._estimates: dict[tuple[int, bool], torch.Tensor] = {}
        self._summaries: dict[int, ChunkSummary] = {}

    @property
    def mixture(self) -> torch.Tensor:
        """The recording, (1, num_samples)."""
        return self.references.sum(dim=0)[None]

    def cut(self, blocks: Iterable[torch.Tensor]) -> Iterator[Chunk]:
        """The chunks of the recording with their references; `recording` is the index of a chunk."""
        chunks = cut_recording(blocks, self.window_length, self.hop_length, self.references[None])
        for index, chunk in enumerate(chunks):
            chunk.recording = index
            yield chunk

    def separate_chunks(self, chunks: list[Chunk], is_final: bool = False) -> list[torch.Tensor]:
        """The estimates of each chunk, by one pass of the model or true."""
        is_true = "separation" in self.truths
        missing = [chunk for chunk in chunks if (chunk.recording, is_true) not in self._estimates]
        if is_true:
            found = [share_outputs(chunk.references[0], self.num_estimates)[None] for chunk in missing]
        else:
            found = super().separate_chunks(missing) if missing else []
        for chunk, estimates in zip(missing, found, strict=True):
            self._estimates[chunk.recording, is_true] = estimates
        return [self._estimates[chunk.recording, is_true] for chunk in chunks]

    def summarize(self, samples: torch.Tensor, estimates: torch.Tensor) -> ChunkSummary:
        """Levels and embeddings of a chunk, computed once."""
        # the estimates are kept, so their address tells them apart
        if id(estimates) not in self._summaries:
            self._summaries[id(estimates)] = super().summarize(samples, estimates)
        return self._summaries[id(estimates)]

    @property
    def num_estimates(self) -> int:
        """Number of outputs of the model."""
        return self.separator.model.config.num_sources

    def find_voices(self, evidence: VoiceEvidence) -> VoiceClusters:
        """The people of the recording, found or true."""
        if "clusters" not in self.truths:
            return super().find_voices(evidence)
        assignment = np.stack([assign_truly(*self._signals(index)) for index in range(len(evidence.speech_s))])
        is_own = assignment[..., None] == np.arange(len(self.references))
        sums = np.einsum("cev,ce,ced->vd", is_own, evidence.weights, evidence.embeddings)
        return VoiceClusters(assignment, normalize(sums), score=0.0)

    def find_turns(
        self, index: int, summary: ChunkSummary, voices: VoiceClusters, threshold_db: float, loud_db: float
    ) -> ChunkTurns:
        """The voices of a chunk, found or true."""
        assignment = None
        if "voices" in self.truths:
            hop = self.sampling_rate * FRAMES_PER_HOP // FRAMES_PER_S
            assignment = assign_windows_truly(*self._signals(index), hop, len(summary.window_embeddings))
        return find_chunk_turns(summary, voices, threshold_db, loud_db, assignment)

    def find_activity(
        self, turns: list[ChunkTurns], starts: list[int], mixture_powers: np.ndarray, threshold_db: float
    ) -> np.ndarray:
        """Whether each voice speaks, found or true."""
        found = super().find_activity(turns, starts, mixture_powers, threshold_db)
        if "activity" not in self.truths:
            return found
        true = np.zeros((len(self.active), found.shape[1]), bool)
        # frames of 10 ms in pairs
        pairs = np.pad(self.active, ((0, 0), (0, self.active.shape[1] % 2))).reshape(len(true), -1, 2).any(axis=2)
        true[:, : pairs.shape[1]] = pairs[:, : true.shape[1]]
        # the voice that speaks when a person does; nobody speaks with the others
        agreement = torch.from_numpy(found.astype(np.float64) @ true.T)
        activity = np.zeros(found.shape, bool)
        for person, voice in enumerate(match_estimates(-agreement[None])[0].tolist()):
            if voice != UNMATCHED:
                activity[voice] = true[person]
        return activity

    def _signals(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Estimates and references of a chunk, each (num_signals, num_samples)."""
        estimates = self._estimates[index, "separation" in self.truths][0]
        start = index * self.hop_length
        return estimates.numpy(), self.references[:, start : start + estimates.shape[1]].numpy()


def share_outputs(references: torch.Tensor, num_estimates: int) -> torch.Tensor:
    """The voices of a chunk as estimates, the loudest first: (num_voices, num_samples) -> (num_estimates, num_samples)"""
    order = references.square().sum(dim=-1).argsort(descending=True)
    estimates = references.new_zeros(num_estimates, references.shape[-1])
    places = torch.arange(len(order)).clamp(max=num_estimates - 1)
    return estimates.index_add_(0, places, references[order])


def assign_truly(estimates: np.ndarray, references: np.ndarray) -> np.ndarray:
    """The voice of each estimate of a chunk: int (num_estimates,), see [`assign_windows_truly`]"""
    return _nearest_states(_inner_products(estimates, references, max(1, estimates.shape[1])), len(references))[0]


def assign_windows_truly(
    estimates: np.ndarray, references: np.ndarray, hop_length: int, num_windows: int
) -> np.ndarray:
    """
    The voice of each estimate in each window: so that the sums of the estimates of the voices are nearest to the references.

    Args:
        estimates (`np.ndarray` of shape `(num_estimates, num_samples)`), references (`np.ndarray` of shape `(num_voices, num_samples)`):
            Of one chunk.
        hop_length (`int`):
            Number of samples from the middle of a window to the next. The first middle is the start of the chunk. What lies within a
            hop of the middle counts.
        num_windows (`int`):
            Number of windows.

    Returns:
        int `np.ndarray` of shape `(num_windows, num_estimates)`.
    """
    products = _inner_products(estimates, references, hop_length)
    missing = max(0, num_windows - len(products))
    before = np.pad(products, ((1, missing), (0, 0), (0, 0)))[:num_windows]
    after = np.pad(products, ((0, missing), (0, 0), (0, 0)))[:num_windows]
    return _nearest_states(before + after, len(references))


def _inner_products(estimates: np.ndarray, references: np.ndarray, length: int) -> np.ndarray:
    """Of all signals with each other, in blocks: `(num_blocks, num_estimates + num_voices, num_estimates + num_voices)`"""
    signals = np.concatenate([estimates, references]).astype(np.float64)
    signals = np.pad(signals, ((0, 0), (0, -signals.shape[1] % length)))
    blocks = signals.reshape(len(signals), -1, length).transpose(1, 0, 2)
    return blocks @ blocks.transpose(0, 2, 1)


def _nearest_states(products: np.ndarray, num_voices: int) -> np.ndarray:
    """Inner products -> the voices of the estimates with the smallest squared error, (num_blocks, num_estimates)."""
    num_estimates = products.shape[1] - num_voices
    states = np.array(list(itertools.product(range(num_voices), repeat=num_estimates)))
    # the squared error of each voice is that of its estimates minus its reference
    owned = (states[:, None, :] == np.arange(num_voices)[:, None]).astype(float)
    signs = np.concatenate(
        [owned, -np.broadcast_to(np.eye(num_voices), (len(states), num_voices, num_voices))], axis=2
    )
    errors = np.einsum("svi,bij,svj->bs", signs, products, signs)
    return states[errors.argmin(axis=1)]
