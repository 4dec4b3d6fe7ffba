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
import pytest
import torch

from audioslots_hf import AudioSlotsConfig, GalrConfig, GalrForAudioSeparation
from audioslots_hf.passes import average_passes, check_passes
from audioslots_hf.pipeline_audio_separation import AudioSeparationPipeline
from audioslots_hf.separator import Separator
from tests.conftest import TINY_DUAL_PATH, tiny_waveform_feature_extractor


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return GalrForAudioSeparation(GalrConfig(**TINY_DUAL_PATH, num_attention_heads=2)).eval()


def test_estimates_of_all_passes_are_restored_and_matched_before_they_are_averaged():
    passed = []

    def separate(rows):
        # a perfect separator that changes the order of its sources, and leaves other zeros in the padding
        passed.append([row.clone() for row in rows])
        padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        estimates = torch.stack([padded / 4, padded * 3 / 4], dim=1)
        return estimates.flip(1) if len(passed) % 2 == 0 else estimates

    rows = [torch.randn(30), torch.randn(20)]
    estimates = average_passes(separate, rows, passes=4, shift=3)
    for index, row in enumerate(rows):
        torch.testing.assert_close(estimates[index, 0, : len(row)], row / 4)
        torch.testing.assert_close(estimates[index, 1, : len(row)], row * 3 / 4)
    assert [len(rows) for rows in passed] == [2, 2, 2, 2]
    torch.testing.assert_close(passed[1][0], -rows[0])
    torch.testing.assert_close(passed[2][0][3:], rows[0][:-3])
    torch.testing.assert_close(passed[3][1], -passed[2][1])


def test_two_passes_do_not_change_with_polarity_and_sum_to_the_mixture(model):
    extractor = tiny_waveform_feature_extractor()
    mixture = torch.randn(2, 700)
    one = Separator(model, extractor).separate(mixture)
    two, four = (Separator(model, extractor, passes=passes).separate(mixture) for passes in (2, 4))
    inverted = Separator(model, extractor, passes=2).separate(-mixture)
    # the order of the tracks is that of the first pass, which differs for the inverted mixture
    torch.testing.assert_close(
        -inverted.sort(dim=1, descending=True).values, two.sort(dim=1).values, atol=1e-5, rtol=1e-4
    )
    assert not torch.allclose(one, two, atol=1e-3)
    assert not torch.allclose(two, four, atol=1e-4)
    for estimates in (two, four):
        torch.testing.assert_close(estimates.sum(dim=1), one.sum(dim=1), atol=1e-4, rtol=1e-3)


def test_the_pipeline_averages_passes_as_the_separator_does(model):
    extractor = tiny_waveform_feature_extractor()
    pipeline = AudioSeparationPipeline(model=model, feature_extractor=extractor, device="cpu")
    mixture = torch.randn(1900)
    tracks = pipeline(mixture, passes=2, num_speakers="outputs")
    expected = Separator(model, extractor, passes=2).separate(mixture[None])[0]
    torch.testing.assert_close(
        torch.stack([torch.from_numpy(track["audio"]) for track in tracks]), expected, atol=1e-5, rtol=1e-4
    )
    with pytest.raises(ValueError, match="`passes` is 3: it must be one of 1, 2, 4"):
        pipeline(mixture, passes=3)


def test_passes_that_would_change_nothing_are_refused(separate, tmp_path):
    with pytest.raises(ValueError, match="the family 'audioslots' does not estimate waveforms"):
        check_passes(2, AudioSlotsConfig())
    assert check_passes(1, AudioSlotsConfig()) is None
    status, _, error = separate("tests/samples/two_voices.flac", "--passes", 2)
    assert status != 0
    assert "does not estimate waveforms" in error
    assert not list((tmp_path / "out").glob("*.flac"))
