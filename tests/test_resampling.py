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
import torch
from scipy.signal import resample_poly

from audioslots_hf.resampling import resample, resample_blocks
from tests.audio_helpers import noise, tones


RATE_PAIRS = [
    (48000, 8000),
    (8000, 48000),
    (44100, 16000),
    (16000, 44100),
    (11025, 8000),
    (22050, 16000),
    (16000, 16001),
    (8000, 7),
]


@pytest.mark.parametrize("block_length", [100, 4801, 1_000_000])
@pytest.mark.parametrize("source_rate, target_rate", RATE_PAIRS)
def test_blocks_give_the_same_as_scipy_on_the_whole(source_rate, target_rate, block_length):
    # more than two steps of one second, and an odd rest
    waveform = torch.from_numpy(noise(2, int(2.3 * source_rate) | 1))
    resampled = torch.cat(
        list(resample_blocks(waveform.split(block_length, dim=-1), source_rate, target_rate)), dim=-1
    )
    expected = resample_poly(waveform.double().numpy(), target_rate, source_rate, axis=-1)
    assert resampled.dtype == torch.float32
    # float32 sums of a few hundred terms of size 0.1
    np.testing.assert_allclose(resampled.numpy(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("source_rate, target_rate", RATE_PAIRS)
@pytest.mark.parametrize("num_samples", [1, 2, 777])
def test_the_length_is_rounded_up(source_rate, target_rate, num_samples):
    resampled = resample(torch.ones(2, 3, num_samples), source_rate, target_rate)
    assert resampled.shape == (2, 3, -(-num_samples * target_rate // source_rate))


@pytest.mark.parametrize("rate", [11025, 16000, 22050, 44100, 48000])
def test_a_signal_below_the_lower_nyquist_frequency_survives_the_way_there_and_back(rate):
    waveform = torch.from_numpy(tones(rate, rate))
    there = resample(waveform, rate, 8000)
    back = resample(there, 8000, rate)[: len(waveform)]
    # SciPy's default Kaiser window has a passband ripple of about 1e-3
    torch.testing.assert_close(there, torch.from_numpy(tones(len(there), 8000)), rtol=0, atol=1e-3)
    torch.testing.assert_close(back, waveform, rtol=0, atol=1e-3)


def test_equal_rates_hand_the_blocks_on_untouched():
    blocks = [torch.ones(1, 3), torch.ones(1, 5)]
    assert [id(block) for block in resample_blocks(blocks, 8000, 8000)] == [id(block) for block in blocks]


def test_output_comes_before_the_input_ends():
    num_read = 0

    def endless():
        nonlocal num_read
        while True:
            num_read += 1
            yield torch.zeros(1, 8000)

    resampled = resample_blocks(endless(), 8000, 48000)
    assert sum(next(resampled).shape[-1] for _ in range(20)) == 20 * 48000
    # one second ahead at most, whatever the length
    assert num_read <= 22


def test_without_scipy_the_message_names_the_fix(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.signal", None)
    with pytest.raises(ImportError, match="pip install scipy"):
        resample(torch.zeros(10), 16000, 8000)
