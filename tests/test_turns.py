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

from audioslots_hf.turns import (
    assign_windows,
    cross_fade,
    cut_windows,
    decide_activity,
    find_turns,
    widen_activity,
    window_gains,
)


FIRST, SECOND = np.eye(2)


def test_windows_lie_around_every_fifth_of_a_second_and_their_loud_frames_count():
    waveforms = torch.zeros(2, 8000)
    waveforms[0, 4000:] = 1.0
    windows, weights = cut_windows(waveforms, 8000)
    assert windows.shape == (6, 2, 6400) and weights.shape == (6, 2, 41)
    # the third window is centred at 0.4 s; sound begins 0.1 s later, and frame 20 is in its middle
    assert weights[2, 0, :25].sum() == 0 and weights[2, 0, 26:].min() == 1
    assert weights[:, 1].sum() == 0


def test_an_estimate_changes_its_voice_within_a_chunk():
    similarities = np.stack([np.stack([FIRST] * 6 + [SECOND] * 6), np.stack([SECOND] * 12)], axis=1)
    speech = np.ones((12, 2))
    speech[:6, 1] = 0.0
    speech[6:, 1] = 0.2
    assert assign_windows(similarities, speech)[:, 0].tolist() == [0] * 6 + [1] * 6


def test_one_odd_window_changes_no_voice():
    similarities = np.stack([np.stack([FIRST] * 12), np.stack([SECOND] * 12)], axis=1)
    similarities[5, 0] = [0.4, 0.5]
    assert assign_windows(similarities, np.ones((12, 2))).tolist() == [[0, 1]] * 12


def test_an_estimate_without_speech_goes_with_the_other():
    similarities = np.stack([np.stack([FIRST] * 3), np.stack([SECOND] * 3)], axis=1)
    assert assign_windows(similarities, np.stack([np.ones(3), np.zeros(3)], axis=1)).tolist() == [[0, 0]] * 3


def two_turns() -> dict[str, np.ndarray]:
    """A chunk of 2 s: the first voice alone, split in two by the model, until the second voice begins after 1 s."""
    embeddings = np.stack([np.stack([FIRST] * 11), np.stack([FIRST] * 5 + [SECOND] * 6)], axis=1)
    return {
        "similarities": embeddings @ np.stack([FIRST, SECOND]).T,
        "active": np.ones((2, 100), bool),
        "powers": np.full((2, 100), 0.01),
        "mixture_powers": np.full(100, 0.02),
        "loud_db": -17.0,
    }


def test_parts_of_one_voice_are_no_second_voice_until_one_begins():
    turns = find_turns(**two_turns())
    assert turns.log_odds.shape == turns.powers.shape == (2, 100)
    assert turns.log_odds[0].min() > 0
    assert turns.log_odds[1, :35].max() < 0 < turns.log_odds[1, 65:].min()
    # a voice alone has the power of the mixture
    np.testing.assert_allclose(turns.powers[0, [10, 90]], [0.02, 0.01])


def test_a_leak_is_no_second_voice():
    chunk = two_turns()
    chunk["powers"][1] = 1e-5
    chunk["active"][1] = False
    assert find_turns(**chunk).log_odds[1].max() < 0


@pytest.mark.parametrize("num_estimates, num_voices", [(1, 3), (3, 2), (3, 4)])
def test_any_number_of_estimates_and_voices_has_finite_log_odds(num_estimates, num_voices):
    rng = np.random.default_rng(0)
    powers = rng.random((num_estimates, 45))
    active = rng.random((num_estimates, 45)) > 0.3
    embeddings, centroids = rng.normal(size=(5, num_estimates, 8)), rng.normal(size=(num_voices, 8))
    turns = find_turns(embeddings @ centroids.T, active, powers, powers.sum(axis=0), 0.0)
    assert turns.assignment.shape == (5, num_estimates) and np.isfinite(turns.log_odds).all()


def test_speech_has_a_speaker_and_quiet_frames_have_none():
    log_odds = np.stack([np.full(200, -1.0), np.full(200, -2.0)])
    mixture = np.concatenate([np.full(150, 0.01), np.full(50, 1e-7)])
    active = decide_activity(log_odds, np.zeros((2, 200)), mixture, threshold_db=-50.0)
    assert active[0, :150].all() and not active[0, 150:].any() and not active[1].any()


def test_voices_begin_earlier_only_where_nobody_else_speaks():
    active = np.zeros((2, 30), bool)
    active[0, 10:20] = True
    active[1, 20:25] = True
    widened = widen_activity(active)
    assert np.flatnonzero(widened[0]).tolist() == list(range(8, 20))
    assert np.flatnonzero(widened[1]).tolist() == list(range(20, 27))


def test_estimates_are_cross_faded_from_voice_to_voice():
    gains = window_gains(np.array([[0, 1], [1, 1]]), 2, torch.tensor([0.0, 0.05, 0.2, 0.3]))
    torch.testing.assert_close(gains[0], torch.tensor([[1.0, 0.75, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]))
    torch.testing.assert_close(gains.sum(dim=0), torch.ones(2, 4))


def test_chunks_of_equal_values_join_to_the_same():
    joined = cross_fade([np.ones((2, 100)), np.ones((2, 60))], [0, 50], 105)
    np.testing.assert_allclose(joined, np.ones((2, 105)))
