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

from training import synthesize_speech


def test_a_random_blend_is_drawn_from_the_voices_of_the_training_alone():
    stock = synthesize_speech.blended_voices()
    others = {
        utterance.voice
        for split in ("valid", "test")
        for utterance in synthesize_speech.read_list(synthesize_speech.METADATA / f"kokoro_{split}.csv")
    }
    assert len(stock) == 40 and not others & set(stock)
    assert synthesize_speech.stock_voices("blend_00017") == stock
    assert synthesize_speech.stock_voices("am_adam+af_nova") == ["am_adam", "af_nova"]
    # each voice is one column of the identity, so a blend shows the shares of its voices
    packs = {name: np.tile(np.eye(64)[index], (2, 4)) for index, name in enumerate(stock)}
    blends = [synthesize_speech.blend_voices(packs, f"blend_{number:05d}")[0].reshape(4, 64) for number in (3, 3, 4)]
    assert np.array_equal(blends[0], blends[1]) and not np.array_equal(blends[0], blends[2])
    timbre, prosody = blends[0][0], blends[0][2]
    assert np.array_equal(blends[0][1], timbre) and np.array_equal(blends[0][3], prosody)
    for shares in (timbre, prosody):
        np.testing.assert_allclose(shares.sum(), 1, rtol=1e-6)
        assert (shares > 0).sum() == 3
    assert not np.array_equal(timbre > 0, prosody > 0)


def test_every_blend_of_the_list_has_a_voice_of_its_own():
    utterances = synthesize_speech.read_list(synthesize_speech.METADATA / "kokoro_blends.csv")
    assert len({utterance.voice for utterance in utterances}) == len(utterances) == 1011
    assert all(utterance.path == f"blends/{utterance.voice}.opus" for utterance in utterances)
