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
from training.data.activity import frame_levels_db
from training.evaluation.conversation_scores import (
    count_swaps,
    count_voices,
    diarization_error_rate,
    find_clear_track,
    find_track_activity,
    lone_windows,
    match_tracks,
    own_track_share,
    score_conversation,
    silence_level_db,
)


RATE = 8000
# who speaks in each second
FIRST, SECOND, BOTH, NOBODY = (True, False), (False, True), (True, True), (False, False)


def build(*seconds: tuple[bool, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Noise of each voice in its seconds -> references (num_voices, num_samples), active (num_voices, num_frames)."""
    active = np.repeat(np.array(seconds, dtype=bool).T, 100, axis=1)
    references = noise(len(active), active.shape[1] * RATE // 100) * np.repeat(active, RATE // 100, axis=1)
    return references, active


@pytest.fixture
def conversation():
    return build(FIRST, FIRST, NOBODY, SECOND, BOTH, SECOND, FIRST, SECOND)


def test_perfect_tracks_in_any_order_score_best(conversation):
    references, active = conversation
    scores = score_conversation(references[::-1].copy(), references, active, RATE)
    assert scores.si_sdr == 60 and scores.si_sdri > 50
    assert scores.own_track == 1 and scores.swaps_per_minute == 0
    assert scores.silence_db == -100 and scores.count_is_right
    assert scores.der == 0


def test_the_mixture_on_both_tracks_gains_nothing(conversation):
    references, active = conversation
    mixture = references.sum(axis=0)
    scores = score_conversation(np.stack([mixture, mixture]), references, active, RATE)
    assert scores.si_sdri == pytest.approx(0, abs=1e-6)
    assert scores.own_track == 0 and scores.swaps_per_minute == 0
    assert scores.silence_db == pytest.approx(-1.5, abs=1)


def test_tracks_that_are_swapped_halfway_put_half_of_the_time_on_the_wrong_track():
    references, active = build(FIRST, SECOND, FIRST, SECOND, FIRST, SECOND)
    half = references.shape[1] // 2
    swapped = np.concatenate([references[:, :half], references[::-1, half:]], axis=1)
    scores = score_conversation(swapped, references, active, RATE)
    assert scores.own_track == pytest.approx(0.5)
    # each voice changes its track once in 6 s
    assert scores.swaps_per_minute == pytest.approx(2 * 10)
    assert scores.si_sdr < 3
    assert scores.der == pytest.approx(0.5, abs=0.01)


def test_swaps_are_counted_per_voice():
    references, active = build(FIRST, SECOND, FIRST, SECOND)
    levels = frame_levels_db(references, RATE)
    assert count_swaps(levels, active) == 0
    # the last second of the second voice is on the first track
    wrong = levels.copy()
    wrong[:, 300:] = levels[::-1, 300:]
    assert count_swaps(wrong, active) == 1


def test_a_voice_without_a_track_counts_as_the_mixture(conversation):
    references, active = conversation
    scores = score_conversation(references[:1], references, active, RATE)
    alone = score_conversation(references, references, active, RATE)
    # the first voice is perfect, the second gains 0 dB
    assert scores.si_sdri == pytest.approx(alone.si_sdri / 2, abs=2)
    assert not scores.count_is_right
    # 3 of the 6 lone seconds are the second voice's
    assert scores.own_track == pytest.approx(0.5)
    assert scores.der == pytest.approx(4 / 8, abs=0.01)


def test_a_silent_track_is_no_track(conversation):
    references, active = conversation
    silent = np.stack([references[1], np.zeros_like(references[1])])
    assert match_tracks(silent, references) == [None, 0]
    scores = score_conversation(silent, references, active, RATE)
    without = score_conversation(silent[:1], references, active, RATE)
    assert scores == without


def test_no_tracks_at_all_have_scores(conversation):
    references, active = conversation
    scores = score_conversation(np.zeros((0, references.shape[1]), np.float32), references, active, RATE)
    assert scores.si_sdri == 0 and scores.own_track == 0 and scores.der == 1
    assert scores.silence_db is None and not scores.count_is_right


def test_one_voice_on_one_track_has_no_improvement():
    references, active = build((True,), (False,), (True,))
    scores = score_conversation(references, references, active, RATE)
    assert scores.si_sdri is None and scores.si_sdr == 60
    assert scores.own_track == 1 and scores.count_is_right and scores.der == 0


def test_one_voice_split_in_two_is_seen():
    references, active = build((True,), (True,), (True,), (True,))
    half = references.shape[1] // 2
    split = np.zeros((2, references.shape[1]), np.float32)
    split[0, :half], split[1, half:] = references[0, :half], references[0, half:]
    scores = score_conversation(split, references, active, RATE)
    assert scores.own_track == 0.5 and scores.swaps_per_minute == pytest.approx(15)
    assert not scores.count_is_right
    assert scores.der == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("leak_db", [-20.0, -40.0])
def test_the_level_in_silence_is_the_leak(conversation, leak_db):
    references, active = build(FIRST, SECOND, FIRST, SECOND)
    tracks = references + 10 ** (leak_db / 20) * references[::-1]
    levels = frame_levels_db(tracks, RATE)
    assert silence_level_db(levels, references, active, [0, 1], RATE) == pytest.approx(leak_db, abs=0.2)


def test_the_noise_of_a_room_in_the_pauses_of_a_turn_is_no_leak():
    references, active = build(FIRST, FIRST, SECOND, NOBODY)
    # the first voice's recording goes on for the second in which it pauses
    references[0, RATE : 2 * RATE] *= 0.05
    active[0, 100:200] = False
    levels = frame_levels_db(references, RATE)
    assert silence_level_db(levels, references, active, [0, 1], RATE) == pytest.approx(-100, abs=0.01)


def test_windows_hold_one_voice_for_at_least_half_of_them():
    active = np.zeros((2, 250), dtype=bool)
    active[0, :75] = True  # all of the first, half of the second window
    active[1, 120:150] = True  # 30 of the 50 frames of the third
    active[0, 150:160] = True  # too little
    active[:, 200:] = True  # both
    assert lone_windows(active) == [(0, 0), (50, 0), (100, 1)]


def test_a_track_is_clear_from_6_db_on():
    assert find_clear_track(np.array([-10.0, -16.0])) == 0
    assert find_clear_track(np.array([-10.0, -15.9])) is None
    assert find_clear_track(np.array([-30.0])) == 0
    assert find_clear_track(np.zeros(0)) is None


def test_no_windows_have_no_share():
    references, active = build(BOTH, NOBODY)
    assert own_track_share(frame_levels_db(references, RATE), active, [0, 1]) is None


def test_activity_comes_from_the_energy_of_tracks_against_the_mixture(conversation):
    references, active = conversation
    mixture = references.sum(axis=0)
    # a track of leaks alone is nobody, a voice 12 dB below the other is somebody
    tracks = np.stack([references[0], 10 ** (-12 / 20) * references[1], 10 ** (-45 / 20) * mixture])
    activity = find_track_activity(tracks, mixture, RATE)
    np.testing.assert_array_equal(activity[:2], active)
    assert count_voices(activity) == 2 and not activity[2].any()


def test_activity_that_is_given_is_taken(conversation):
    references, active = conversation
    scores = score_conversation(references, references, active, RATE, track_activity=np.zeros_like(active))
    assert scores.der == 1 and not scores.count_is_right
    assert scores.own_track == 1


def test_error_rates_have_their_closed_forms():
    active = np.array([[1, 1, 0, 0], [0, 0, 1, 1]], dtype=bool).repeat(10, axis=1)
    assert diarization_error_rate(active[::-1], active) == 0
    # false: one of four; missed: one of four; everything by one: the second is confused
    assert diarization_error_rate(np.vstack([active, active[:1] & [True] * 10 + [False] * 30]), active) == 0.25
    assert diarization_error_rate(active & np.array([True] * 30 + [False] * 10), active) == 0.25
    assert diarization_error_rate(active.any(axis=0)[None], active) == 0.5
    assert diarization_error_rate(active, np.zeros_like(active)) is None


def test_error_rates_agree_with_pyannote():
    """On random activity of other numbers of speakers: one is found too few, as many, one too many."""
    core = pytest.importorskip("pyannote.core")
    diarization = pytest.importorskip("pyannote.metrics.diarization")
    rng = np.random.default_rng(0)

    def annotate(active: np.ndarray):
        annotation = core.Annotation()
        for row, (voice, second) in enumerate(np.argwhere(active)):
            annotation[core.Segment(second, second + 1), row] = str(voice)
        return annotation

    for num_found in (2, 3, 4):
        active, found = rng.random((3, 60)) < 0.4, rng.random((num_found, 60)) < 0.4
        judge = diarization.DiarizationErrorRate()
        expected = judge(annotate(active), annotate(found), uem=core.Segment(0, 60))
        assert diarization_error_rate(found, active) == pytest.approx(expected, abs=1e-9)


def test_missed_voices_and_false_tracks_are_counted(conversation):
    references, active = conversation
    extra = 0.1 * noise(1, references.shape[1], seed=9)
    silence = np.zeros_like(extra)

    def count(*tracks: np.ndarray) -> tuple[int, int]:
        scores = score_conversation(np.concatenate(tracks), references, active, RATE)
        return scores.missed, scores.false

    assert count(references) == (0, 0)
    # silent tracks are neither
    assert count(references[:1], silence) == (1, 0)
    assert count(references, extra, silence) == (0, 1)
    assert count(silence) == (2, 0)
