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

from audioslots_hf import chunking
from audioslots_hf.chunking import Chunk
from audioslots_hf.conversation import ConversationPlan, ConversationSeparator
from audioslots_hf.online import OnlineConversation
from audioslots_hf.placing import place_chunk
from audioslots_hf.separator import Separator
from audioslots_hf.waveforms import find_offset
from tests.conversation_helpers import RATE, encode_bands, split_by_band, turns
from tests.test_conversation import DURATION_S, TURNS, tiny_separator


def separate_twice(waveforms: torch.Tensor) -> torch.Tensor:
    return ConversationSeparator(tiny_separator(), encode_bands, 2).separate(waveforms)[0]


def separate_online(waveforms: torch.Tensor) -> torch.Tensor:
    return torch.cat(list(OnlineConversation(tiny_separator(), encode_bands, 2).stream([waveforms])), dim=-1)


@pytest.mark.parametrize("separate", [separate_twice, separate_online])
def test_no_track_has_the_dc_offset_of_the_recording(separate, monkeypatch):
    monkeypatch.setattr(Separator, "separate_chunks", lambda self, chunks: split_by_band(chunks))
    mixture = turns(TURNS, DURATION_S).sum(dim=0)[None]
    expected = separate(mixture)
    assert expected.shape[:2] == (1, 2) and (expected[0, :, 4 * RATE : 12 * RATE].square().mean(dim=1) > 1e-4).all()
    # the mean of a chunk is that of its noise, too
    torch.testing.assert_close(separate(mixture + 0.3), expected, atol=1e-3, rtol=0)


def test_estimates_and_mixture_are_placed_without_their_offset():
    samples = torch.randn(1, RATE, generator=torch.Generator().manual_seed(0))
    samples -= samples.mean()
    estimates = torch.stack([0.7 * samples, 0.3 * samples], dim=1)
    # the first estimate goes from the third track to the first, and the second one to none
    assignment = np.array([[2, -1]] * 2 + [[0, -1]] * 4)
    placed = place_chunk(Chunk(samples + 2, True), estimates + 1, assignment, 3, RATE)
    torch.testing.assert_close(placed[:, -1], samples, atol=1e-5, rtol=0)
    torch.testing.assert_close(placed[:, [0, 2]].sum(dim=1), estimates[:, 0], atol=1e-5, rtol=0)
    assert not placed[:, 1].any() and not placed[:, 0, : RATE // 5].any() and not placed[:, 2, 2 * RATE // 5 :].any()
    alone = place_chunk(Chunk(samples + 2, True), None, assignment, 3, RATE)
    assert not alone[:, :-1].any() and torch.equal(alone[:, -1], placed[:, -1])


def test_the_offset_of_a_chunk_is_found_once_for_the_model_and_for_the_tracks(monkeypatch):
    found = []
    monkeypatch.setattr(chunking, "find_offset", lambda row, rate: found.append(len(row)) or find_offset(row, rate))
    waveforms = torch.randn(2, 5 * RATE, generator=torch.Generator().manual_seed(0))
    separator = ConversationSeparator(tiny_separator(), encode_bands, 2)
    # chunks of 2 s, one every second
    plan = ConversationPlan(np.zeros((4, 11, 2), int), np.ones((2, 250), bool), 5.0, np.ones(4, bool))
    assert torch.cat(list(separator.stream([waveforms], plan)), dim=-1).shape == (2, 2, 5 * RATE)
    assert found == [2 * RATE] * 8
