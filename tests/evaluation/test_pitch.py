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
import math
import sys

import numpy as np
import pytest
import torch

from training.evaluation.pitch import distance_in_semitones, median_f0s, require_torchaudio


def voice(f0_hz: float, num_samples: int, sampling_rate: int) -> torch.Tensor:
    """A buzz of ten harmonics."""
    seconds = torch.arange(num_samples) / sampling_rate
    return sum(torch.cos(2 * math.pi * f0_hz * harmonic * seconds) / harmonic for harmonic in range(1, 11))


@pytest.mark.parametrize("sampling_rate", [8000, 16000])
def test_the_pitch_of_a_buzz_is_found_between_pauses(sampling_rate):
    f0s_hz = [90, 125, 210, 250]
    voices = torch.stack([voice(f0_hz, sampling_rate, sampling_rate) for f0_hz in f0s_hz])
    hiss = 0.01 * torch.from_numpy(np.random.default_rng(0).standard_normal(voices.shape)).float()
    # at 8 kHz a period of 250 Hz is 32 samples, which are counted in whole numbers
    assert median_f0s(torch.cat([voices, hiss], dim=-1), sampling_rate) == pytest.approx(f0s_hz, rel=0.04)


def test_silence_and_scraps_have_no_pitch():
    assert all(math.isnan(f0) for f0 in median_f0s(torch.zeros(2, 16000), 16000))
    assert all(math.isnan(f0) for f0 in median_f0s(torch.ones(2, 100), 16000))


def test_an_octave_has_twelve_semitones():
    assert distance_in_semitones(110, 220) == distance_in_semitones(220, 110) == pytest.approx(12)


def test_without_torchaudio_the_message_names_the_fix(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchaudio.functional", None)
    with pytest.raises(ImportError, match=r"pip install 'audioslots-hf\[train\]' 'torch<2.15'"):
        require_torchaudio()
