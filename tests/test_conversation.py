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

from audioslots_hf import DprnnConfig, DprnnForAudioSeparation, GalrConfig, GalrForAudioSeparation
from audioslots_hf.conversation import ConversationPlan, ConversationSeparator, _order_voices
from audioslots_hf.separator import Separator
from tests.conftest import TINY_DUAL_PATH, tiny_waveform_feature_extractor
from tests.conversation_helpers import BANDS, RATE, band_filter, encode_bands, split_by_band, turns


TURNS = [(0, 0.5, 4.0), (1, 4.5, 8.0), (0, 7.0, 11.0), (1, 12.0, 15.0)]
DURATION_S = 16.0


def tiny_separator(seed: int = 0, chunk_length: int = 16000) -> Separator:
    torch.manual_seed(seed)
    model = GalrForAudioSeparation(
        GalrConfig(**(TINY_DUAL_PATH | {"chunk_length": chunk_length, "num_attention_heads": 2}))
    ).eval()
    feature_extractor = tiny_waveform_feature_extractor()
    feature_extractor.chunk_length = chunk_length
    return Separator(model, feature_extractor, batch_size=3)


@pytest.fixture
def band_separator(monkeypatch):
    """A separator of conversations that separates and recognises voices without error."""
    monkeypatch.setattr(Separator, "separate_chunks", lambda self, chunks: split_by_band(chunks))

    def build(**speakers) -> ConversationSeparator:
        return ConversationSeparator(tiny_separator(), encode_bands, **speakers)

    return build


def level_db(samples: torch.Tensor) -> float:
    return 10 * float(torch.log10(samples.double().square().mean() + 1e-15))


def inside(segments: list[tuple[float, float]], times: torch.Tensor, margin_s: float = 0.0) -> torch.Tensor:
    found = torch.zeros(len(times), dtype=torch.bool)
    for start, end in segments:
        found |= (times >= start - margin_s) & (times < end + margin_s)
    return found


@pytest.mark.parametrize("speakers", [{"num_speakers": 2}, {}, {"max_speakers": 4}])
def test_each_voice_of_a_conversation_has_one_track(band_separator, speakers):
    references = turns(TURNS, DURATION_S)
    tracks, plan = band_separator(**speakers).separate(references.sum(dim=0)[None])
    assert tracks.shape == (1, 2, references.shape[1])
    # voices are numbered by their first words
    for track, reference in zip(tracks[0], references, strict=True):
        assert level_db(track - reference) < level_db(reference) - 20
    assert len(plan.segments[0]) == len(plan.segments[1]) == 2


def test_the_default_dtype_of_torch_changes_no_track(band_separator):
    mixture = turns([(0, 0.0, 5.0), (1, 4.0, 9.0)], 9.0).sum(dim=0, keepdim=True)
    expected, _ = band_separator(num_speakers=2).separate(mixture)
    torch.set_default_dtype(torch.float64)
    try:
        tracks, _ = band_separator(num_speakers=2).separate(mixture)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(tracks, expected)


def test_segments_are_the_turns(band_separator):
    _, plan = band_separator(num_speakers=2).separate(turns(TURNS, DURATION_S).sum(dim=0)[None])
    for voice in range(2):
        expected = [(start, end) for index, start, end in TURNS if index == voice]
        np.testing.assert_allclose(plan.segments[voice], expected, atol=0.2)
    assert plan.overlap_share == pytest.approx(1.0 / 13.5, abs=0.03)
    assert plan.duration_s == DURATION_S


def test_a_track_is_zero_where_its_voice_is_silent_and_tracks_add_up_where_anybody_speaks(band_separator):
    mixture = turns(TURNS, DURATION_S).sum(dim=0)[None] + 1e-4 * torch.randn(1, int(DURATION_S * RATE))
    tracks, plan = band_separator(num_speakers=2).separate(mixture)
    times = (torch.arange(mixture.shape[1]) + 0.5) / RATE
    for voice in range(2):
        # a track opens 40 ms early where nobody else speaks, and fades for 20 ms
        beside = inside(plan.segments[1 - voice], times) & ~inside(plan.segments[voice], times, margin_s=0.02)
        silent = beside | ~inside(plan.segments[voice], times, margin_s=0.06)
        assert beside.any()
        assert silent.any() and tracks[0, voice, silent].abs().max() == 0
    anybody = inside(plan.segments[0] + plan.segments[1], times)
    torch.testing.assert_close(tracks[0].sum(dim=0)[anybody], mixture[0, anybody], atol=1e-6, rtol=0)


def test_three_people_are_separated_by_a_model_with_two_outputs(band_separator):
    segments = [(0, 0.0, 4.0), (1, 3.5, 8.0), (2, 7.5, 12.0), (0, 11.5, 15.0), (2, 15.5, 19.0), (1, 18.5, 23.0)]
    references = turns(segments, 24.0, num_voices=3)
    tracks, plan = band_separator().separate(references.sum(dim=0)[None])
    assert plan.num_voices == 3
    for track, reference in zip(tracks[0], references, strict=True):
        assert level_db(track - reference) < level_db(reference) - 15


@pytest.mark.parametrize("speakers", [{"num_speakers": 1}, {}])
def test_a_lone_voice_is_one_track_equal_to_the_recording(band_separator, speakers):
    mixture = turns([(0, 1.0, 4.0), (0, 5.0, 9.0)], 10.0).sum(dim=0)[None]
    tracks, plan = band_separator(**speakers).separate(mixture)
    assert torch.equal(tracks, mixture[:, None])
    np.testing.assert_allclose(plan.segments, [[(1.0, 4.0), (5.0, 9.0)]], atol=0.2)


@pytest.mark.parametrize(
    "mixture",
    [torch.zeros(1, 40000), 1e-6 * torch.randn(1, 40000), torch.zeros(2, 3), 0.1 * torch.ones(1, 40000)],
    ids=["silence", "hiss", "a moment", "a constant"],
)
def test_nobody_has_no_track(band_separator, mixture):
    tracks, plan = band_separator().separate(mixture)
    assert plan.num_voices == 0 and plan.segments == []
    assert tracks.shape == (len(mixture), 0, mixture.shape[1])


def test_channels_keep_the_same_voices(band_separator):
    references = turns(TURNS, DURATION_S)
    mixture = torch.stack([references[0] + 0.3 * references[1], 0.3 * references[0] + references[1]])
    tracks, _ = band_separator(num_speakers=2).separate(mixture)
    expected = torch.stack([references * torch.tensor([[1.0], [0.3]]), references * torch.tensor([[0.3], [1.0]])])
    for channel in range(2):
        for voice in range(2):
            error = level_db(tracks[channel, voice] - expected[channel, voice])
            assert error < level_db(expected[channel, voice]) - 12


def test_blocks_of_any_length_give_the_same_tracks(band_separator):
    separator = band_separator(num_speakers=2)
    mixture = turns(TURNS, DURATION_S).sum(dim=0)[None]
    tracks, plan = separator.separate(mixture)
    blocks = mixture.split([1, 7000, 30001, mixture.shape[1] - 37002], dim=-1)
    same = separator.plan(blocks)
    np.testing.assert_array_equal(same.assignment, plan.assignment)
    np.testing.assert_array_equal(same.activity, plan.activity)
    torch.testing.assert_close(torch.cat(list(separator.stream(blocks, same)), dim=-1), tracks)


def test_only_chunks_in_which_several_speak_at_once_are_separated_again(band_separator, monkeypatch):
    separator = band_separator(num_speakers=2)
    mixture = turns(TURNS, DURATION_S).sum(dim=0)[None]
    plan = separator.plan([mixture])
    lengths = []
    monkeypatch.setattr(
        Separator, "separate_chunks", lambda self, chunks: [lengths.append(len(chunks)), split_by_band(chunks)][1]
    )
    list(separator.stream([mixture], plan))
    # the overlap from 7 to 8 s lies in the chunks from 6, 7 and, by an edge, maybe 5 and 8 s on
    assert 2 <= sum(lengths) == plan.is_overlapped.sum() < 6


def build_tiny(family: str, checkpoint) -> Separator:
    if family == "audioslots":
        from audioslots_hf import load_separator

        return load_separator(checkpoint, device="cpu").separator
    if family == "galr":
        return tiny_separator(chunk_length=24000)
    model = DprnnForAudioSeparation(DprnnConfig(**TINY_DUAL_PATH)).eval()
    return Separator(model, tiny_waveform_feature_extractor())


@pytest.mark.parametrize("family", ["audioslots", "galr", "dprnn"])
def test_every_family_separates_conversations(family, checkpoint):
    """A fixed chunk of 0.1 s, one of 3 s that may be shorter, and one of 0.1 s that may not be longer."""
    separator = ConversationSeparator(build_tiny(family, checkpoint), encode_bands, num_speakers=2)
    mixture = turns([(0, 0.1, 2.0), (1, 2.0, 4.0)], 4.3).sum(dim=0)[None]
    tracks, plan = separator.separate(mixture)
    assert tracks.shape == (1, 2, mixture.shape[1]) and torch.isfinite(tracks).all()
    times = (torch.arange(mixture.shape[1]) + 0.5) / RATE
    anybody = inside(plan.segments[0] + plan.segments[1], times)
    torch.testing.assert_close(tracks[0].sum(dim=0)[anybody], mixture[0, anybody], atol=1e-5, rtol=0)


def test_a_chunk_length_that_the_model_does_not_take_is_refused(checkpoint):
    separator = tiny_separator()
    with pytest.raises(ValueError, match="`chunk_length` is 8001: it must be a multiple of 4 from 20 to 16000"):
        Separator(separator.model, separator.feature_extractor, chunk_length=8001)
    from audioslots_hf import load_separator

    pipeline = load_separator(checkpoint, device="cpu")
    with pytest.raises(
        ValueError, match="`chunk_length` is 400: a model of the family 'audioslots' supports only its own, 800"
    ):
        Separator(pipeline.model, pipeline.feature_extractor, chunk_length=400)


def test_numbers_of_speakers_are_checked_before_any_work():
    with pytest.raises(ValueError, match="`num_speakers` is 0"):
        ConversationSeparator(tiny_separator(), encode_bands, num_speakers=0)


def test_the_voices_of_the_helpers_lie_in_bands():
    references = turns([(0, 0.0, 1.0), (1, 0.0, 1.0), (2, 0.0, 1.0)], 1.0, num_voices=3)
    for reference, band in zip(references, BANDS, strict=True):
        assert level_db(band_filter(reference, band) - reference) < level_db(reference) - 10


def test_people_who_never_speak_have_no_track_unless_their_number_was_given():
    active = np.zeros((3, 10), bool)
    active[0, 5:], active[2, :5] = True, True
    plan = ConversationPlan(np.array([[[0, 1], [2, 0]]]), active, 0.2)
    assert _order_voices(plan, keep_silent=True).assignment.tolist() == [[[1, 2], [0, 1]]]
    found = _order_voices(plan, keep_silent=False)
    assert found.assignment.tolist() == [[[1, -1], [0, 1]]] and found.num_voices == 2


def test_only_chunks_in_which_several_speak_are_passed_over_several_times(monkeypatch):
    passes = []

    def separate(self, chunks):
        passes.extend([self.passes] * len(chunks))
        return split_by_band(chunks)

    monkeypatch.setattr(Separator, "separate_chunks", separate)
    separator = tiny_separator()
    separator.passes = 2
    _, plan = ConversationSeparator(separator, encode_bands, num_speakers=2).separate(
        turns(TURNS, DURATION_S).sum(dim=0)[None]
    )
    assert passes == [1] * len(plan.is_overlapped) + [2] * int(plan.is_overlapped.sum())
    assert 0 < plan.is_overlapped.sum() < len(plan.is_overlapped)
