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
import sys

import numpy as np
import pytest

from tests.data.test_conversations import RATE, speaker
from training.data.conversations import ConversationSimulator, ConversationStyle
from training.data.rooms import draw_responses, require_pyroomacoustics, reverberate
from training.settings import SettingsError


def decay_time(response: np.ndarray, rate: int) -> float:
    """Seconds to a decay of 60 dB, from the slope between -5 and -25 dB (Schroeder 1965)."""
    remaining = np.cumsum(np.square(response[::-1], dtype=np.float64))[::-1]
    levels = 10 * np.log10(remaining / remaining[0])
    start, stop = np.flatnonzero(levels < -5)[0], np.flatnonzero(levels < -25)[0]
    return 3 * (stop - start) / rate


def test_responses_decay_in_the_time_that_was_asked_for():
    for rt60_s in (0.2, 0.4):
        responses = draw_responses(2, rt60_s, RATE, np.random.default_rng(0))
        for response in responses:
            assert response.dtype == np.float32 and np.square(response).sum() == pytest.approx(1, abs=1e-5)
            # the direct sound comes first; image sources decay more slowly than Sabine's formula says
            assert np.abs(response).argmax() == 0
            assert 0.6 * rt60_s < decay_time(response, RATE) < 1.6 * rt60_s


def test_each_person_has_another_place_and_a_seed_gives_the_same_room():
    first, again, other = (draw_responses(2, 0.2, RATE, np.random.default_rng(seed)) for seed in (0, 0, 1))
    for response, same in zip(first, again, strict=True):
        np.testing.assert_array_equal(response, same)
    length = min(len(response) for response in (*first, *other))
    assert not np.array_equal(first[0][:length], first[1][:length])
    assert not np.array_equal(first[0][:length], other[0][:length])


def test_reverberation_is_a_convolution_with_the_response_of_each_voice():
    references = np.zeros((2, 20), np.float32)
    references[:, 3] = 1, 2
    heard = reverberate(references, [np.array([1, 0, 0.5], np.float32), np.array([0.5], np.float32)])
    assert heard.shape == (2, 20) and heard.dtype == np.float32
    expected = np.zeros((2, 20))
    expected[0, [3, 5]], expected[1, 3] = (1, 0.5), 1
    np.testing.assert_allclose(heard, expected, atol=1e-6)


def test_a_room_changes_the_sound_of_a_conversation_and_not_who_speaks():
    speech = [speaker(seed) for seed in range(3)]
    dry, wet = (
        ConversationSimulator(speech, RATE, ConversationStyle(duration_s=20.0, rt60_s=rt60_s))[0]
        for rt60_s in (0.0, 0.3)
    )
    assert wet.segments == dry.segments and wet.speakers == dry.speakers
    assert wet.references.shape == dry.references.shape and np.abs(wet.mixture).max() <= 0.9 + 1e-6
    for voice in range(2):
        # tails sound where the voice is silent
        assert np.count_nonzero(wet.references[voice]) > np.count_nonzero(dry.references[voice])
        similarity = np.corrcoef(wet.references[voice], dry.references[voice])[0, 1]
        assert 0.3 < similarity < 0.98


@pytest.mark.parametrize("rt60_s", [0.1, 0.7, -1.0])
def test_rooms_that_cannot_be_are_refused(rt60_s):
    with pytest.raises(SettingsError, match=f"`rt60_s` is {rt60_s}: it must be 0.2 to 0.6 s, or 0 for no room"):
        ConversationStyle(rt60_s=rt60_s)


def test_without_pyroomacoustics_the_message_names_the_fix(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyroomacoustics", None)
    with pytest.raises(ImportError, match=r"pip install \"audioslots-hf\[rooms\]\""):
        require_pyroomacoustics()
