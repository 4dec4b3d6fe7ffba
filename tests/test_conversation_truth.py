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
import numpy as np
import pytest
import torch

from audioslots_hf.separator import Separator
from tests.conversation_helpers import RATE, split_by_band, turns
from tests.test_conversation import tiny_separator
from training.benchmark import conversations
from training.benchmark.conversation_truth import (
    TRUTHS,
    TrueConversationSeparator,
    assign_truly,
    assign_windows_truly,
    share_outputs,
)
from training.benchmark.conversations import separate_truly
from training.data.conversations import Conversation
from training.evaluation.conversation_scores import score_conversation


VOICES = np.random.default_rng(0).normal(size=(3, 8000))


def test_the_true_voice_of_an_estimate_is_the_one_it_is_part_of():
    first, second, third = VOICES
    assert assign_truly(np.stack([third, first]), VOICES[:, : len(first)] * [[1], [0], [1]]).tolist() == [2, 0]
    # a voice in two parts
    assert assign_truly(np.stack([0.7 * second, 0.3 * second]), VOICES * [[0], [1], [0]]).tolist() == [1, 1]


def test_true_voices_change_within_a_chunk():
    speaks = np.arange(8000) < 4000
    references = VOICES * np.stack([speaks, np.ones(8000, bool), ~speaks])
    estimates = np.stack([references[0] + references[2], references[1]])
    windows = assign_windows_truly(estimates, references, hop_length=1000, num_windows=10)
    assert windows[:4].tolist() == [[0, 1]] * 4 and windows[5:9].tolist() == [[2, 1]] * 4
    assert windows.shape == (10, 2)


def test_the_quietest_voices_share_an_output():
    references = torch.tensor([[1.0, 1.0], [3.0, 0.0], [0.5, 0.5]])
    assert share_outputs(references, 2).tolist() == [[3.0, 0.0], [1.5, 1.5]]
    assert share_outputs(references[:1], 2).tolist() == [[1.0, 1.0], [0.0, 0.0]]


class Pipeline:
    """Separates bands of noise without error, with a voice encoder that hears nothing."""

    def __init__(self):
        self.separator = tiny_separator()

    def voice_encoder(self, waveforms, weights):
        return torch.nn.functional.normalize(torch.randn(len(waveforms), 16), dim=-1)


@pytest.fixture
def conversation() -> Conversation:
    references = turns([(0, 0.5, 4.0), (1, 4.3, 8.0), (0, 7.0, 9.5), (2, 10.0, 13.0)], 14.0, num_voices=3)
    active = references.unfold(-1, RATE // 100, RATE // 100).square().mean(dim=-1) > 1e-6
    return Conversation(references.numpy(), active.numpy(), [0, 1, 2])


def test_true_voices_make_up_for_an_encoder_that_hears_nothing(monkeypatch, conversation):
    separated = []

    def separate(self, chunks):
        separated.extend(chunk.recording for chunk in chunks)
        return split_by_band(chunks)

    torch.manual_seed(0)
    monkeypatch.setattr(conversations, "SAMPLING_RATE", RATE)
    monkeypatch.setattr(Separator, "separate_chunks", separate)
    separator = TrueConversationSeparator(Pipeline(), conversation, RATE, num_speakers=3)
    scores = {}
    for truth in TRUTHS:
        tracks, activity = separate_truly(separator, truth)
        scores[truth] = score_conversation(tracks, conversation.references, conversation.active, RATE, activity)
    assert scores["none"].own_track < 0.7 and scores["separation"].own_track < 0.7
    assert scores["voices"].own_track == 1 and scores["voices"].si_sdr > 15
    assert scores["both"].si_sdr > 15 and scores["both"].der < 0.03
    # each chunk once, for all of them
    assert separated == list(range(13))
