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

from audioslots_hf.speakers import (
    MAX_NARROW_SIMILARITY,
    MAX_SIMILARITY,
    TOGETHER_BONUS,
    TOGETHER_COST,
    VoiceEvidence,
    assign_voices,
    find_voices,
    normalize,
    parse_speakers,
    sum_together,
    wants_outputs,
)


def voices(num_voices: int, size: int = 32) -> np.ndarray:
    """Directions at right angles to each other, which all lie at 0.5 to a common one, as embeddings of speech do."""
    common = np.eye(size)[-1]
    return normalize(np.eye(size)[:num_voices] + 0.5 * common)


def conversation(
    num_voices: int, num_chunks: int = 60, noise: float = 0.08, alone: float = 0.5, seed: int = 0
) -> tuple[VoiceEvidence, np.ndarray]:
    """Evidence of chunks in which one or two voices speak -> with the true voices of the two estimates."""
    rng = np.random.default_rng(seed)
    centers = voices(num_voices)
    truth = np.zeros((num_chunks, 2), int)
    speech_s = np.full((num_chunks, 2), 1.8)
    levels = rng.uniform(0.05, 0.2, (num_chunks, 2))
    for chunk in range(num_chunks):
        first = chunk * num_voices // num_chunks
        if num_voices > 1 and rng.random() > alone:
            truth[chunk] = rng.permutation([first, (first + rng.integers(1, num_voices)) % num_voices])
        else:
            truth[chunk] = first
            # either the second estimate is a leak, or the voice was split in two
            if rng.random() < 0.5:
                speech_s[chunk, 1], levels[chunk, 1] = 0.0, 0.001
            else:
                speech_s[chunk] = 0.9
    embeddings = normalize(centers[truth] + noise * rng.normal(size=(num_chunks, 2, centers.shape[1])))
    return VoiceEvidence(
        embeddings, speech_s, np.where(truth == truth[:, ::-1], speech_s, 0.5 * speech_s), levels
    ), truth


def is_same_up_to_names(found: np.ndarray, truth: np.ndarray) -> bool:
    pairs = set(zip(found.ravel().tolist(), truth.ravel().tolist(), strict=True))
    return len(pairs) == len({pair[0] for pair in pairs}) == len({pair[1] for pair in pairs})


@pytest.mark.parametrize("num_voices", [1, 2, 3, 4])
def test_voices_are_found_where_their_number_is_known(num_voices):
    evidence, truth = conversation(num_voices)
    found = find_voices(evidence, num_speakers=num_voices)
    assert is_same_up_to_names(found.assignment, truth)
    assert found.centroids.shape == (num_voices, 32)
    np.testing.assert_allclose(np.linalg.norm(found.centroids, axis=1), 1)


@pytest.mark.parametrize("share, expected", [(0.0, 1), (0.1, 1), (0.3, 2)])
def test_voices_that_sound_at_the_same_time_are_two_however_alike(share, expected):
    """As in a few seconds of full overlap, where embeddings are too short to tell; parts of one voice follow each other."""
    people = np.array([[1.0, 0.0], [0.8, 0.6]])
    num_chunks = 4
    embeddings = np.tile(people, (num_chunks, 1, 1))
    speech_s = np.full((num_chunks, 2), 1.5)
    evidence = VoiceEvidence(embeddings, speech_s, (1 - share) * speech_s, np.full((num_chunks, 2), 0.1))
    together_s = sum_together(evidence, np.tile([0, 1], (num_chunks, 1)), 2)
    np.testing.assert_allclose(together_s, 6 * share * (1 - np.eye(2)), atol=1e-12)
    assert len(find_voices(evidence).centroids) == expected


@pytest.mark.parametrize("share, expected", [(0.0, 1), (0.01, 1), (0.06, 2)])
def test_voices_that_interrupt_each_other_may_be_more_alike(share, expected):
    similarity = 0.8
    assert MAX_SIMILARITY + TOGETHER_BONUS * 0.01 < similarity < MAX_SIMILARITY + TOGETHER_BONUS * 0.06
    people = np.array([[1.0, 0.0], [similarity, (1 - similarity**2) ** 0.5]])
    num_chunks = 100
    speech_s = np.full((num_chunks, 2), 1.5)
    levels = np.full((num_chunks, 2), 0.1)
    evidence = VoiceEvidence(np.tile(people, (num_chunks, 1, 1)), speech_s, (1 - share) * speech_s, levels)
    assert len(find_voices(evidence).centroids) == expected


@pytest.mark.parametrize(("num_chunks", "share", "expected"), [(12, 0.5, 2), (40, 0.1, 1), (40, 0.5, 2)])
def test_in_a_short_recording_few_seconds_are_a_voice(num_chunks, share, expected):
    num_second = round(share * num_chunks)
    people = np.array([[1.0, 0.0], [0.6, 0.8]])
    voices = np.array([0] * (num_chunks - num_second) + [1] * num_second)
    # one estimate of each chunk holds the speech, all of it alone
    embeddings = np.stack([people[voices], np.zeros((num_chunks, 2))], axis=1)
    speech_s = np.tile([1.9, 0.0], (num_chunks, 1))
    evidence = VoiceEvidence(embeddings, speech_s, speech_s, np.where(speech_s > 0, 0.1, 0.0))
    assert len(find_voices(evidence).centroids) == expected


@pytest.mark.parametrize("high_power, expected", [(1.0, 1), (1e-6, 2)])
def test_voices_may_be_more_alike_by_telephone(high_power, expected):
    assert MAX_SIMILARITY < 0.775 < MAX_NARROW_SIMILARITY
    people = np.array([[1.0, 0.0], [0.775, (1 - 0.775**2) ** 0.5]])
    truth = np.arange(200) // 100
    embeddings = np.stack([people[truth], people[truth]], axis=1)
    speech_s = np.stack([np.full(200, 1.8), np.zeros(200)], axis=1)
    bands = np.tile([1.0, high_power], (200, 1))
    found = find_voices(VoiceEvidence(embeddings, speech_s, speech_s, speech_s, bands))
    assert len(found.centroids) == expected


@pytest.mark.parametrize("num_voices", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", [1, 2])
def test_the_number_of_voices_is_found(num_voices, seed):
    evidence, truth = conversation(num_voices, seed=seed)
    found = find_voices(evidence)
    assert len(found.centroids) == num_voices
    assert is_same_up_to_names(found.assignment, truth)


def test_no_more_voices_are_found_than_may_be():
    evidence, _ = conversation(4)
    assert len(find_voices(evidence, max_speakers=3).centroids) <= 3
    assert len(find_voices(evidence, max_speakers=1).centroids) == 1


def test_the_two_estimates_of_a_chunk_are_two_people_though_one_voice_is_nearest_to_both():
    first, second = voices(2)
    # both lean to the first voice; the other explains the second estimate far better than it would explain neither
    embeddings = normalize(np.stack([[first, 0.45 * first + 0.55 * second]]))
    evidence = VoiceEvidence(embeddings, *np.full((2, 1, 2), 2.0), np.ones((1, 2)))
    assert assign_voices(evidence, np.stack([first, second]))[0].tolist() == [[0, 1]]


def test_two_estimates_nearly_as_near_to_one_voice_are_parts_of_it():
    first, second = voices(2)
    embeddings = normalize(np.stack([[first, 0.505 * first + 0.495 * second]]))
    evidence = VoiceEvidence(embeddings, *np.full((2, 1, 2), 2.0), np.ones((1, 2)))
    assert assign_voices(evidence, np.stack([first, second]))[0].tolist() == [[0, 0]]
    # nearer to the other voice by more than the margin
    embeddings = normalize(np.stack([[first, 0.3 * first + 0.7 * second]]))
    evidence = VoiceEvidence(embeddings, *np.full((2, 1, 2), 2.0), np.ones((1, 2)))
    assert assign_voices(evidence, np.stack([first, second]))[0].tolist() == [[0, 1]]


def test_two_estimates_that_sound_at_once_are_no_parts_of_one_voice_once_the_number_is_known():
    first, second = voices(2)
    embeddings = normalize(np.stack([[first, 0.505 * first + 0.495 * second]]))
    for alone_s, expected in ((2.0, [0, 0]), (0.5, [0, 1])):
        evidence = VoiceEvidence(embeddings, np.full((1, 2), 2.0), np.full((1, 2), alone_s), np.ones((1, 2)))
        centroids = np.stack([first, second])
        assert assign_voices(evidence, centroids)[0].tolist() == [[0, 0]]
        assert assign_voices(evidence, centroids, TOGETHER_COST)[0].tolist() == [expected]


def test_an_estimate_without_speech_decides_nothing_and_goes_with_the_other():
    first, second = voices(2)
    # what embedding a leak has makes no difference
    evidence = VoiceEvidence(np.stack([[second, first]]), *np.array([[[2.0, 0.0]]] * 2), np.array([[0.1, 0.001]]))
    assert assign_voices(evidence, np.stack([first, second]))[0].tolist() == [[1, 1]]


def test_clusters_do_not_depend_on_the_order_of_the_estimates():
    evidence, truth = conversation(3, seed=3)
    swapped = VoiceEvidence(
        *(getattr(evidence, name)[:, ::-1] for name in ("embeddings", "speech_s", "alone_s", "levels"))
    )
    found = find_voices(swapped, num_speakers=3)
    assert is_same_up_to_names(found.assignment[:, ::-1], truth)


def test_a_quiet_voice_of_few_words_is_still_a_voice():
    evidence, truth = conversation(2, seed=4)
    evidence.levels[truth == 1] *= 0.1
    found = find_voices(evidence)
    assert is_same_up_to_names(found.assignment, truth)


def test_too_little_speech_is_one_voice():
    evidence = VoiceEvidence(np.zeros((3, 2, 8)), *np.full((2, 3, 2), 0.1), np.ones((3, 2)))
    found = find_voices(evidence)
    assert found.assignment.tolist() == [[0, 0]] * 3


def test_more_voices_than_there_is_speech_for_are_refused():
    evidence, _ = conversation(1, num_chunks=2, alone=1.0)
    with pytest.raises(ValueError, match="too little speech for 9 voices"):
        find_voices(evidence, num_speakers=9)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((0, None), "`num_speakers` is 0: it must be a whole number of at least 1"),
        ((2.0, None), r"`num_speakers` is 2\.0"),
        ((True, None), "`num_speakers` is True"),
        (("two", None), "`num_speakers` is 'two': it must be a whole number or 'auto'"),
        ((None, -1), "`max_speakers` is -1"),
        ((3, 2), r"`num_speakers` \(3\) is more than `max_speakers` \(2\)"),
    ],
)
def test_numbers_of_speakers_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        parse_speakers(*arguments)


def test_auto_leaves_the_number_to_be_found():
    assert parse_speakers("auto") == (None, None)
    assert parse_speakers("auto", 3) == (None, 3)
    assert parse_speakers(2) == (2, None)


def test_outputs_take_the_place_of_people_by_name_or_by_chunks_of_their_own():
    assert wants_outputs("outputs") and wants_outputs(None, None, 400) and wants_outputs("outputs", None, 400)
    assert not wants_outputs(None) and not wants_outputs("auto", 3) and not wants_outputs(2)
    with pytest.raises(ValueError, match="leave out 'outputs'"):
        wants_outputs("outputs", 3)
    with pytest.raises(ValueError, match="'auto' or 'outputs'"):
        wants_outputs("some")
    with pytest.raises(ValueError, match="at least 1"):
        wants_outputs(0)
