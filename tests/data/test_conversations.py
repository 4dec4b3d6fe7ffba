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
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from training.data.conversations import ConversationSimulator, ConversationStyle
from training.data.speech import Utterance
from training.data.stretches import SpeakerLine
from training.settings import SettingsError


RATE = 8000


def speaker(seed: int, num_utterances: int = 6, level: float = 0.1) -> list[Utterance]:
    """Utterances of 5 s each: noise with a pause of half a second after 2 s."""
    rng = np.random.default_rng(seed)
    utterances = []
    for number in range(num_utterances):
        samples = level * rng.standard_normal(5 * RATE)
        samples[2 * RATE : 2 * RATE + RATE // 2] = 0
        int16 = np.clip(samples * 32768, -32768, 32767).astype(np.int16)
        utterances.append(Utterance(Path(f"{seed}/{number}.wav"), len(int16), -20.0, int16))
    return utterances


@pytest.fixture(scope="module")
def speech() -> list[list[Utterance]]:
    return [speaker(seed) for seed in range(6)]


def simulate(speech, index: int = 0, seed: int = 72, **style):
    return ConversationSimulator(speech, RATE, ConversationStyle(**style), seed)[index]


def test_a_seed_and_an_index_give_the_same_recording_always(speech):
    first, again = (simulate(speech, index=3, seed=5) for _ in range(2))
    np.testing.assert_array_equal(first.references, again.references)
    assert first.segments == again.segments and first.speakers == again.speakers


def test_another_seed_or_index_gives_another_recording(speech):
    first = simulate(speech).references
    assert not np.array_equal(first, simulate(speech, index=1).references)
    assert not np.array_equal(first, simulate(speech, seed=73).references)


@pytest.mark.parametrize("num_voices", [1, 2, 3, 4, 5])
def test_the_mixture_is_the_sum_of_voices_that_all_speak(speech, num_voices):
    conversation = simulate(speech, num_voices=num_voices, duration_s=40.0, overlap=0.2 if num_voices > 1 else 0.0)
    assert conversation.references.shape == (num_voices, 40 * RATE)
    assert conversation.mixture.dtype == np.float32
    np.testing.assert_array_equal(conversation.mixture, conversation.references.sum(axis=0))
    assert {segment.speaker for segment in conversation.segments} == set(range(num_voices))
    assert len(set(conversation.speakers)) == num_voices
    assert np.abs(conversation.mixture).max() <= 0.9 + 1e-6


@pytest.mark.parametrize("overlap", [0.0, 0.1, 0.2, 0.4])
@pytest.mark.parametrize("num_voices", [2, 3])
def test_the_overlap_is_the_one_that_was_asked_for(speech, num_voices, overlap):
    overlaps = [simulate(speech, index, num_voices=num_voices, overlap=overlap).overlap for index in range(4)]
    assert np.mean(overlaps) == pytest.approx(overlap, abs=0.02)


def test_never_are_three_voices_heard_at_once(speech):
    counts = [simulate(speech, index, num_voices=5, overlap=0.4).active.sum(axis=0).max() for index in range(4)]
    assert counts == [2, 2, 2, 2]


def test_segments_are_where_the_voice_sounds(speech):
    conversation = simulate(speech)
    for segment in conversation.segments:
        reference = conversation.references[segment.speaker]
        span = reference[round(segment.start * RATE) : round(segment.end * RATE)]
        assert np.square(span).mean() > 0
    # but for the fades of 10 ms, frames outside of them are silent
    frames = np.square(conversation.references.reshape(2, -1, RATE // 100)).mean(axis=-1)
    assert frames[~conversation.active].max() < 0.01 * frames[conversation.active].mean()


def test_gaps_between_speakers_are_short_and_pauses_of_one_are_longer(speech):
    gaps, pauses = [], []
    for index in range(20):
        segments = simulate(speech, index, overlap=0.0).segments
        for before, after in pairwise(segments):
            (pauses if before.speaker == after.speaker else gaps).append(after.start - before.end)
    assert 0.15 < np.median(gaps) < 0.26
    assert np.median(pauses) > 1.5 * np.median(gaps)
    assert min(gaps) > 0


def test_listeners_say_short_things_into_turns(speech):
    interjections = []
    for index in range(5):
        segments = simulate(speech, index, overlap=0.2).segments
        interjections += [
            inner
            for inner in segments
            for outer in segments
            if inner.speaker != outer.speaker and outer.start < inner.start and inner.end < outer.end
        ]
    assert len(interjections) >= 5
    assert all(segment.end - segment.start < 2 for segment in interjections)


def test_panned_voices_differ_in_level_and_their_channels_have_the_references_as_mean(speech):
    panned = simulate(speech, num_voices=3, panning_db=6.0)
    differences = 20 * np.log10(panned.gains[0] / panned.gains[1])
    assert (np.abs(differences) <= 6).all() and np.ptp(differences) > 1
    assert panned.recording.dtype == np.float32 and np.abs(panned.recording).max() < 1
    np.testing.assert_allclose(panned.recording.mean(axis=0), panned.mixture, atol=1e-6)
    single = simulate(speech, num_voices=3)
    np.testing.assert_array_equal(single.recording, single.mixture[None])
    # all but the levels is the same
    assert panned.segments == single.segments and panned.speakers == single.speakers


def test_a_short_recording_is_cut_where_it_ends(speech):
    conversation = simulate(speech, duration_s=1.5, num_voices=1, overlap=0.0)
    assert conversation.references.shape == (1, 12000)
    assert conversation.segments[-1].end <= 1.5


def test_all_speech_of_a_speaker_comes_before_any_of_it_again():
    utterances = speaker(0, num_utterances=3)
    for number, utterance in enumerate(utterances):
        # tells the stretches apart
        utterance.loudness = float(number)
    line = SpeakerLine(utterances, RATE, np.random.default_rng(0))
    stretches = [line.take(1.5) for _ in range(18)]
    order = [before.loudness for before, after in pairwise(stretches) if before.loudness != after.loudness]
    assert set(order[:3]) == set(order[3:6]) == {0.0, 1.0, 2.0}


def test_a_stretch_ends_in_a_pause_nearby():
    line = SpeakerLine(speaker(0), RATE, np.random.default_rng(0))
    stretch = line.take(2.2)
    assert len(stretch.active) == pytest.approx(200, abs=2)
    assert stretch.samples[0] == stretch.samples[-1] == 0


@pytest.mark.parametrize(
    ("style", "message"),
    [
        ({"num_voices": 6}, "`num_voices` is 6: it must be 1 to 5"),
        ({"num_voices": 0}, "`num_voices` is 0"),
        ({"duration_s": 0.0}, "must be positive"),
        ({"overlap": 0.6}, r"`overlap` is 0\.6: it must be 0 to 0\.5"),
        ({"num_voices": 1, "overlap": 0.1}, "nothing to overlap with"),
        ({"panning_db": -3.0}, r"`panning_db` is -3\.0"),
    ],
)
def test_a_conversation_that_cannot_be_is_refused(style, message):
    with pytest.raises(SettingsError, match=message):
        ConversationStyle(**style)


def test_too_few_speakers_and_odd_rates_are_refused(speech):
    with pytest.raises(SettingsError, match="There are 2 speakers for conversations of 3 voices"):
        ConversationSimulator(speech[:2], RATE, ConversationStyle(num_voices=3))
    with pytest.raises(SettingsError, match="11025 Hz: it must be a multiple of 100"):
        ConversationSimulator(speech, 11025, ConversationStyle())


def test_an_utterance_without_speech_is_named():
    silent = Utterance(Path("silent.wav"), RATE, -20.0, np.zeros(RATE, np.int16))
    with pytest.raises(SettingsError, match=r"silent\.wav contains no speech"):
        SpeakerLine([silent], RATE, np.random.default_rng(0)).take(1.0)
