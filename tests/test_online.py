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

from audioslots_hf import load_separator, online_voices, pipeline_audio_separation, placing, speakers
from audioslots_hf.chunking import Chunk, SeparatedChunks
from audioslots_hf.online import OnlineConversation
from audioslots_hf.online_voices import OnlineVoices
from audioslots_hf.separator import Separator
from audioslots_hf.speakers import VoiceEvidence
from tests.conversation_helpers import RATE, encode_bands, split_by_band, turns


@pytest.fixture
def separator(checkpoint, monkeypatch) -> Separator:
    """A separator that makes no errors, of one window at a time."""
    monkeypatch.setattr(Separator, "separate_chunks", lambda self, chunks: split_by_band(chunks))
    separator = load_separator(checkpoint, device="cpu").separator
    monkeypatch.setattr(Separator, "separate", lambda self, waveforms: split_by_band(wrap(waveforms)).estimates)
    return separator


def wrap(waveforms: torch.Tensor) -> list[Chunk]:
    return [Chunk(waveforms, is_last=True)]


def stream(conversation: OnlineConversation, waveforms: torch.Tensor, block_length: int = RATE // 10) -> torch.Tensor:
    """The tracks of (num_channels, num_samples), given in blocks."""
    return torch.cat(list(conversation.stream(waveforms.split(block_length, dim=-1))), dim=-1)


def share_on_track(track: torch.Tensor, reference: torch.Tensor) -> float:
    """The energy of a reference that is on a track, less what else is there."""
    return 1 - float((track - reference).square().sum() / reference.square().sum())


def test_a_voice_that_pauses_for_20_s_returns_to_its_own_track(separator):
    references = turns([(0, 0.5, 5.0), (1, 5.5, 25.0), (0, 25.5, 29.0)], 30.0)
    conversation = OnlineConversation(separator, encode_bands, max_speakers=4)
    tracks = stream(conversation, references.sum(dim=0)[None])
    assert tracks.shape == (1, 4, 30 * RATE)
    for voice, reference in enumerate(references):
        assert share_on_track(tracks[0, voice], reference) > 0.9
    late = slice(26 * RATE, 29 * RATE)
    assert share_on_track(tracks[0, 0, late], references[0, late]) > 0.99
    assert not tracks[0, 2:].any()
    first, *between, last = conversation.segments[0]
    np.testing.assert_allclose([first, last], [(0.5, 5.0), (25.5, 29.0)], atol=0.2)
    # the first half-second of a new voice is too short to tell
    assert all(end < 6.0 for _, end in between) and conversation.segments[2:] == [[], []]


def test_a_third_person_gets_a_track_of_a_model_with_two_outputs(separator):
    references = turns([(0, 0.5, 4.0), (1, 4.5, 8.0), (2, 8.5, 12.0), (1, 11.0, 15.0)], 16.0, num_voices=3)
    tracks = stream(OnlineConversation(separator, encode_bands, num_speakers=3), references.sum(dim=0)[None])
    assert tracks.shape == (1, 3, 16 * RATE)
    for voice, reference in enumerate(references):
        assert share_on_track(tracks[0, voice], reference) > 0.85


def test_without_a_free_track_a_new_voice_goes_to_the_nearest_one(separator):
    references = turns([(0, 0.5, 4.0), (1, 4.5, 8.0), (2, 8.5, 12.0)], 13.0, num_voices=3)
    tracks = stream(OnlineConversation(separator, encode_bands, max_speakers=2), references.sum(dim=0)[None])
    heard = tracks[0, :, 9 * RATE : 12 * RATE].square().sum(dim=-1)
    assert heard.max() > 0.99 * references[2, 9 * RATE : 12 * RATE].square().sum()


def test_tracks_come_within_the_stated_latency_and_the_whole_recording_comes_back(separator):
    mixture = turns([(0, 0.5, 4.0), (1, 4.5, 8.0)], 9.0).sum(dim=0)[None]
    conversation = OnlineConversation(separator, encode_bands)
    block_length, num_read = RATE // 20, 0

    def microphone():
        nonlocal num_read
        for block in mixture.split(block_length, dim=-1):
            num_read += block.shape[-1]
            yield block

    num_sent = 0
    for tracks in conversation.stream(microphone()):
        # the first of the samples that come is the oldest
        assert num_read - num_sent <= conversation.latency_s * RATE + block_length or num_read == mixture.shape[-1]
        num_sent += tracks.shape[-1]
    assert num_sent == mixture.shape[-1] and conversation.latency_s == 2.0
    assert conversation.activity.shape == (6, 9 * 50)


def test_the_result_does_not_depend_on_the_blocks(separator):
    mixture = turns([(0, 0.5, 4.0), (1, 3.5, 8.0)], 9.0).sum(dim=0)[None]
    conversation = OnlineConversation(separator, encode_bands, num_speakers=2)
    results = [stream(conversation, mixture, length) for length in (777, RATE, 20 * RATE)]
    for result in results[1:]:
        torch.testing.assert_close(result, results[0])


def test_channels_keep_one_order_and_tracks_add_up_to_the_mixture_during_speech(separator):
    mono = turns([(0, 0.5, 6.0), (1, 4.0, 8.0)], 9.0).sum(dim=0)
    mixture = torch.stack([mono, 0.5 * mono])
    tracks = stream(OnlineConversation(separator, encode_bands, num_speakers=2), mixture)
    torch.testing.assert_close(tracks[1], 0.5 * tracks[0], atol=1e-4, rtol=1e-3)
    spoken = slice(round(0.6 * RATE), 8 * RATE)
    torch.testing.assert_close(tracks[..., spoken].sum(dim=1), mixture[:, spoken], atol=1e-4, rtol=1e-3)


def test_silence_gives_silent_tracks(separator):
    conversation = OnlineConversation(separator, encode_bands, max_speakers=2)
    assert not stream(conversation, torch.zeros(1, 5 * RATE)).any()
    assert conversation.segments == [[], []]


def test_more_than_a_minute_is_remembered_in_segments_only(separator):
    segments = [(index % 2, 3.0 * index + 0.5, 3.0 * index + 2.5) for index in range(30)]
    references = turns(segments, 90.0)
    conversation = OnlineConversation(separator, encode_bands, num_speakers=2)
    tracks = stream(conversation, references.sum(dim=0)[None])
    for voice, reference in enumerate(conversation.segments):
        # the first half-second of the second voice is too short to tell, and the end of a turn may leave a sound of 0.1 s
        found = [(start, end) for start, end in reference if start > 4.0 and end - start > 0.15]
        expected = [(start, end) for index, start, end in segments if index == voice and start > 4.0]
        np.testing.assert_allclose(found, expected, atol=0.2)
    for voice, reference in enumerate(references):
        assert share_on_track(tracks[0, voice], reference) > 0.9


def hear(voices: OnlineVoices, *vectors: list[float], speech_s: float = 1.5) -> list[int]:
    """Assign a chunk whose estimates have these embeddings, an estimate of zeros has no speech."""
    embeddings = np.array(vectors, float)
    speech = speech_s * embeddings.any(axis=1)
    alone = speech if np.count_nonzero(speech) == 1 else speech / 2
    evidence = VoiceEvidence(embeddings[None], speech[None], alone[None], np.ones((1, len(vectors))))
    return voices.assign(evidence, hop_s=1.0).tolist()


def test_a_short_sound_that_does_not_come_again_frees_its_track():
    voices = OnlineVoices(2)
    for _ in range(3):
        assert hear(voices, [1, 0, 0], [0, 0, 0])[0] == 0
    assert hear(voices, [0, 1, 0], [0, 0, 0])[0] == 1
    for _ in range(11):
        assert hear(voices, [1, 0, 0], [0, 0, 0])[0] == 0
    # somebody else takes the track
    assert hear(voices, [0, 0, 1], [0, 0, 0])[0] == 1


def test_voices_that_turn_out_to_be_one_are_merged_into_the_longer():
    voices = OnlineVoices(3)
    for _ in range(3):
        assert hear(voices, [1, 0, 0], [0, 0, 0])[0] == 0
    assert hear(voices, [0.35, 0.94, 0], [0, 0, 0])[0] == 1
    for _ in range(5):
        tracks = hear(voices, [0.8, 0.6, 0], [0, 0, 0])
    assert tracks[0] == 0 and sorted(voices.centroids) == [0]


def test_numbers_of_people_that_make_no_sense_are_refused(separator):
    with pytest.raises(ValueError, match="`max_speakers` is 0"):
        OnlineConversation(separator, encode_bands, max_speakers=0)


def test_the_pipeline_makes_one(checkpoint, monkeypatch):
    monkeypatch.setattr(pipeline_audio_separation, "load_default_voice_encoder", lambda: torch.nn.Identity())
    conversation = load_separator(checkpoint, device="cpu").online_conversation(num_speakers="auto", max_speakers=3)
    assert conversation.num_tracks == 3 and conversation.sampling_rate == RATE


def test_a_person_who_first_speaks_at_the_same_time_as_another_gets_a_track():
    voices = OnlineVoices(3)
    assert hear(voices, [1, 0, 0], [0, 0, 0])[0] == 0
    assert hear(voices, [1, 0, 0], [0.3, 0.95, 0], speech_s=1.2) == [0, 1]
    # too short, or too much like the first one
    assert hear(voices, [1, 0, 0], [0.3, 0, 0.95], speech_s=0.7) == [0, 0]
    assert hear(voices, [1, 0, 0], [0.45, 0, 0.893], speech_s=1.2)[0] == 0 and sorted(voices.centroids) == [0, 1]


def test_panned_voices_that_the_model_mixes_are_told_apart_by_their_places(separator, monkeypatch):
    references = turns([(0, 0.5, 6.0), (1, 4.0, 12.0), (0, 10.0, 14.0)], 15.0)
    gains = torch.tensor([[1.2, 0.8], [0.8, 1.2]])
    leaky = torch.tensor([[0.7, 0.3], [0.3, 0.7]])

    def separate(waveforms: torch.Tensor) -> torch.Tensor:
        return torch.einsum("fe,cen->cfn", leaky, split_by_band(wrap(waveforms)).estimates)

    monkeypatch.setattr(Separator, "separate", lambda self, waveforms: separate(waveforms))
    shares = []
    for is_sharp in (True, False):
        if not is_sharp:
            monkeypatch.setattr(placing, "sharpen_tracks", lambda tracks, *others: tracks)
        tracks = stream(OnlineConversation(separator, encode_bands, num_speakers=2), gains @ references)
        images = gains.T[..., None] * references[:, None]
        shares.append([share_on_track(tracks[:, voice], images[voice]) for voice in range(2)])
    assert min(shares[0]) > 0.9 and min(shares[0]) > max(shares[1])


def test_each_track_knows_the_place_of_its_voice_between_two_channels_unless_all_have_one():
    left, right, first, second = np.eye(2)[0], np.eye(2)[1], np.eye(3)[0], np.eye(3)[1]
    ones = np.ones((1, 1))
    for places, expected in (((left, right), [left, right]), ((left, left), None)):
        voices = OnlineVoices(3)
        for embedding, place in zip((first, second), places, strict=True):
            voices.assign(VoiceEvidence(embedding[None, None], ones, ones, ones, panning=place[None, None]), 1.0)
        tracks, described = voices.describe()
        assert tracks.tolist() == [0, 1]
        np.testing.assert_array_equal(described.centroids, [first, second])
        if expected is None:
            assert described.panning is None
        else:
            np.testing.assert_array_equal(described.panning, expected)


def test_an_early_error_about_a_voice_does_not_last():
    voices = OnlineVoices(2, is_known=True)
    for _ in range(3):
        assert hear(voices, [1, 0, 0], [0, 0, 0])[0] == 0
    # more like the second voice, which nobody knows yet
    assert hear(voices, [0.6, 0.8, 0], [0, 0, 0])[0] == 0
    assert hear(voices, [0, 1, 0], [0, 0, 0])[0] == 1
    np.testing.assert_allclose(voices.centroids[0], [1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(voices.centroids[1], np.array([0.6, 1.8, 0]) / np.hypot(0.6, 1.8), atol=1e-6)


def test_a_voice_that_is_silent_for_longer_than_the_history_stays_as_it_was(monkeypatch):
    monkeypatch.setattr(online_voices, "VOICE_HISTORY_S", 4.0)
    voices = OnlineVoices(2)
    for vector in [[1, 0, 0]] * 3 + [[0, 1, 0]] * 18:
        hear(voices, vector, [0, 0, 0])
    assert voices.centroids[0].tolist() == [1, 0, 0] and voices.speech_s == {0: 4.5, 1: 6.0}
    assert hear(voices, [1, 0, 0], [0, 0, 0])[0] == 0


def test_people_who_follow_each_other_in_one_estimate_of_a_chunk_are_told_apart(separator, monkeypatch):
    def keep_together(self, chunks):
        rows = torch.cat([chunk.samples for chunk in chunks])
        return SeparatedChunks(torch.stack([rows, torch.zeros_like(rows)], dim=1))

    monkeypatch.setattr(Separator, "separate_chunks", keep_together)
    monkeypatch.setattr(Separator, "separate", lambda self, waveforms: keep_together(self, wrap(waveforms)).estimates)
    # changes in the middle of chunks, and a turn as short as one
    references = turns([(0, 0.5, 4.4), (1, 4.6, 8.3), (0, 8.5, 10.4), (1, 10.6, 14.0)], 14.5)
    conversation = OnlineConversation(separator, encode_bands, num_speakers=2)
    tracks = stream(conversation, references.sum(dim=0)[None])
    for voice, reference in enumerate(references):
        # decisions are for fifths of a second
        assert share_on_track(tracks[0, voice], reference) > 0.9
    # once both voices are known
    assert [len(spans) for spans in conversation.segments] == [2, 2]
    np.testing.assert_allclose(conversation.segments[0][1], (8.5, 10.4), atol=0.15)
    np.testing.assert_allclose(conversation.segments[1][1], (10.6, 14.0), atol=0.15)


def test_two_people_taken_for_one_are_told_apart_after_some_seconds(monkeypatch):
    monkeypatch.setattr(online_voices, "NEW_SIMILARITY", 0.4)
    monkeypatch.setattr(speakers, "MAX_SIMILARITY", 0.6)
    monkeypatch.setattr(speakers, "SHORT_VOICE_MARGIN", 0.025)
    voices = OnlineVoices(3)
    first, second = [1, 0, 0], [0.45, 0.893, 0]
    tracks = [hear(voices, vector, [0, 0, 0])[0] for vector in [first] * 7 + [second] * 7]
    assert set(tracks) == {0} and sorted(voices.centroids) == [0]
    tracks = [hear(voices, vector, [0, 0, 0])[0] for vector in [first, second, first]]
    # the clusters of 15 s are those of the next chunk
    assert sorted(voices.centroids) == [0, 1] and tracks[1:] == [1, 0]
    np.testing.assert_allclose(voices.centroids[1], second, atol=1e-2)


def test_people_whose_number_is_known_keep_their_tracks_if_nothing_explains_more():
    voices = OnlineVoices(2, is_known=True)
    for _ in range(16):
        assert hear(voices, [1, 0, 0], [0, 0, 0])[0] == 0
        assert hear(voices, [0, 0, 1], [0, 0, 0])[0] == 1
    assert voices.centroids[0].tolist() == [1, 0, 0] and voices.centroids[1].tolist() == [0, 0, 1]
