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

from training.data.loudness import gain_between, loudness_lufs


def test_a_sine_has_the_loudness_of_the_standard():
    # ITU-R BS.1770: a sine of 997 Hz at full scale has -3.01 LUFS
    sine = np.sin(2 * np.pi * 997 * np.arange(48000) / 48000)
    # the filters of pyloudnorm approximate those of the standard
    assert loudness_lufs(sine, 48000) == pytest.approx(-3.01, abs=0.05)
    quiet = sine * gain_between(loudness_lufs(sine, 48000), -30.0)
    assert loudness_lufs(quiet, 48000) == pytest.approx(-30.0, abs=1e-3)
    assert loudness_lufs(np.zeros(100), 16000) == -np.inf
