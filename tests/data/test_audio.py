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

from tests.data.helpers import SPEECH, files_of
from training.data.audio import audio_length, read_audio


@pytest.mark.parametrize("sampling_rate", [8000, 11025, 16000, 24000])
def test_a_span_equals_that_of_the_whole_file(sampling_rate):
    path = files_of(SPEECH)[0]
    whole = read_audio(path, sampling_rate)
    assert len(whole) == audio_length(path, sampling_rate)
    for start, num_samples in ((0, 500), (1, 999), (7001, 4000), (len(whole) - 100, 100), (len(whole) - 100, 500)):
        span = read_audio(path, sampling_rate, start, num_samples)
        # the filter sums in another order
        np.testing.assert_allclose(span, whole[start : start + num_samples], atol=1e-6)
