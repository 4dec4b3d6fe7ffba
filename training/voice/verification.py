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
"""Verification: whether two crops are of one voice, by the cosine of their embeddings, and how often that is wrong."""

from dataclasses import dataclass

import numpy as np
import torch

from audioslots_hf.modeling_voice_encoder import VoiceEncoderModel

from ..settings import SettingsError
from .augmentation import active_frames
from .crops import Voice, cut


NUM_CROPS = 20


@dataclass
class Trials:
    """
    Crops of voices, all pairs of which are compared, except two of one recording where a voice has several.

    Args:
        crops (`np.ndarray` of shape `(num_crops, num_samples)`):
            Float32.
        speakers, recordings (`np.ndarray` of shape `(num_crops,)`):
            Numbers of the voices, and of the recordings within a voice.
    """

    crops: np.ndarray
    speakers: np.ndarray
    recordings: np.ndarray

    def __post_init__(self):
        self.first, self.second = np.triu_indices(len(self.crops), 1)
        is_same = self.speakers[self.first] == self.speakers[self.second]
        pairs = list(zip(self.speakers, self.recordings, strict=True))
        num_recordings = {voice: len({pair for pair in pairs if pair[0] == voice}) for voice in set(self.speakers)}
        has_several = np.array([num_recordings[voice] > 1 for voice in self.speakers], bool)
        is_easy = is_same & (self.recordings[self.first] == self.recordings[self.second]) & has_several[self.first]
        self.first, self.second, self.is_same = self.first[~is_easy], self.second[~is_easy], is_same[~is_easy]

    @property
    def num_pairs(self) -> int:
        """How many comparisons there are."""
        return len(self.is_same)

    def equal_error_rate(self, embeddings: np.ndarray) -> float:
        """The rate for embeddings of length 1 of the crops, (num_crops, embedding_size)"""
        return equal_error_rate((embeddings @ embeddings.T)[self.first, self.second], self.is_same)


def cut_trials(voices: list[Voice], num_samples: int, num_crops: int = NUM_CROPS) -> Trials:
    """Up to `num_crops` spans of each voice that do not overlap, spread over its recordings."""
    crops, speakers, recordings = [], [], []
    for speaker, voice in enumerate(voices):
        places = [
            (index, start)
            for index, samples in enumerate(voice.utterances)
            for start in range(0, len(samples) - num_samples + 1, num_samples)
        ]
        chosen = np.unique(np.linspace(0, len(places) - 1, num_crops).round().astype(int)) if places else []
        for recording, start in (places[position] for position in chosen):
            crops.append(cut(voice.utterances[recording], start, num_samples))
            speakers.append(speaker)
            recordings.append(recording)
    if len(set(speakers)) < 2:
        raise SettingsError(
            f"Fewer than two voices have a recording of {num_samples} samples: there is no pair of two."
        )
    return Trials(np.stack(crops), np.array(speakers), np.array(recordings))


def equal_error_rate(scores: np.ndarray, is_same: np.ndarray) -> float:
    """
    The error where as many pairs of one voice are refused as pairs of two voices are accepted.

    Args:
        scores (`np.ndarray` of shape `(num_pairs,)`):
            Higher for one voice.
        is_same (`np.ndarray` of shape `(num_pairs,)`):
            Which pairs are of one voice.
    """
    is_same = is_same[np.argsort(-scores, kind="stable")].astype(bool)
    accepted = np.concatenate([[0.0], np.cumsum(~is_same) / max(1, (~is_same).sum())])
    refused = np.concatenate([[1.0], 1 - np.cumsum(is_same) / max(1, is_same.sum())])
    nearest = np.argmin(np.abs(accepted - refused))
    return float((accepted[nearest] + refused[nearest]) / 2)


@torch.no_grad()
def embed(model: VoiceEncoderModel, crops: np.ndarray, batch_size: int = 64) -> np.ndarray:
    """Embeddings of crops (num_crops, num_samples) by their active frames, float32 (num_crops, embedding_size)"""
    batches = torch.from_numpy(crops.astype(np.float32)).to(model.device).split(batch_size)
    frame_length = model.config.frame_length
    return torch.cat([model(batch, active_frames(batch, frame_length)).embeddings for batch in batches]).cpu().numpy()
