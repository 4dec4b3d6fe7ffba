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

from tests.audio_helpers import noise
from training.data.activity import SILENCE_DB, find_activity, find_spans, frame_levels_db, loud_level_db


def bursts(*spans_s: tuple[float, float], duration_s: float = 3.0, sampling_rate: int = 16000) -> np.ndarray:
    """Noise in some spans, silence elsewhere."""
    samples = np.zeros(int(duration_s * sampling_rate), np.float32)
    for start, stop in spans_s:
        first, last = int(start * sampling_rate), int(stop * sampling_rate)
        samples[first:last] = noise(last - first)
    return samples


def test_the_level_of_a_constant_is_its_own():
    levels = frame_levels_db(np.full((2, 1605), 0.1, np.float32), 16000)
    assert levels.shape == (2, 10)
    np.testing.assert_allclose(levels, -20, atol=1e-4)


def test_silence_has_a_level_and_no_activity():
    assert loud_level_db(frame_levels_db(np.zeros(1600), 16000)) == SILENCE_DB
    assert loud_level_db(np.zeros(0)) == SILENCE_DB
    assert not find_activity(np.zeros(16000, np.float32), 16000).any()


@pytest.mark.parametrize("sampling_rate", [8000, 16000])
def test_activity_begins_and_ends_with_the_sound(sampling_rate):
    active = find_activity(bursts((0.5, 1.0), (2.0, 3.0), sampling_rate=sampling_rate), sampling_rate)
    assert find_spans(active) == [(50, 100), (200, 300)]


def test_short_pauses_are_filled_and_short_sounds_left_out():
    active = find_activity(bursts((0.5, 1.0), (1.2, 2.0), (2.5, 2.55)), 16000)
    assert find_spans(active) == [(50, 200)]


def test_the_loud_level_does_not_depend_on_the_share_of_silence():
    short, long = (frame_levels_db(bursts((0, 1), duration_s=length), 16000) for length in (1.0, 60.0))
    assert loud_level_db(long) == pytest.approx(loud_level_db(short))


def test_a_leak_below_the_least_loud_level_is_not_heard():
    leak = 0.03 * bursts((0, 3))
    assert find_activity(leak, 16000).all()
    # -20 dB of noise at 0.03 is -50 dB
    assert not find_activity(leak, 16000, min_loud_db=-24).any()


def test_spans_reach_to_both_ends():
    assert find_spans(np.array([True, False, True, True])) == [(0, 1), (2, 4)]
    assert find_spans(np.zeros(0, dtype=bool)) == []
