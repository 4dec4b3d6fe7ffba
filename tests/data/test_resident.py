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

from training.data.augmentations import (
    DynamicRangeCompression,
    HighPass,
    Polarity,
    SharedSpectrum,
    SpectralTilt,
    SpeedPerturbation,
)
from training.data.examples import TrainingExamples
from training.data.loudness import gain_between
from training.data.noise_floor import NoiseFloor
from training.data.resident import ResidentLoader, ResidentSpeech


SPEEDS = SpeedPerturbation(factors=[0.8, 0.95, 1.2])
TILT = SpectralTilt(max_db=3.0)
COMPRESSION = DynamicRangeCompression(max_exponent=0.8)
HIGH_PASS = HighPass(cutoff_hz=[50.0, 400.0])


@pytest.mark.parametrize(
    ("augmentations", "crop_length"),
    [
        ([], 4000),
        # longer than most of the speech
        ([TILT], 80000),
        ([SPEEDS, TILT, COMPRESSION, HIGH_PASS, SharedSpectrum(share=0.5), Polarity()], 4000),
    ],
)
def test_speech_on_the_device_sounds_like_that_in_memory(build_mixer, augmentations, crop_length):
    mixer = build_mixer(*augmentations, crop_length=crop_length)
    references = ResidentSpeech(mixer, torch.device("cpu")).draw(7, range(3, 15))
    examples = TrainingExamples(mixer, [], [1.0], crop_length, 7, 100)
    for index, row in zip(range(3, 15), references, strict=True):
        expected = examples[index]["references"]
        assert row.dtype == torch.float32
        # a batch rounds otherwise than its examples one by one
        assert (row - expected).norm() <= 1e-5 * expected.norm()


def test_an_example_on_the_device_depends_on_its_number_alone(build_mixer):
    mixer = build_mixer(SharedSpectrum(share=0.5), Polarity(), noise_floors=[NoiseFloor([-10.0, -10.0])])
    speech = ResidentSpeech(mixer, torch.device("cpu"))
    references = speech.draw(7, range(20))
    assert torch.equal(speech.draw(7, range(5, 9)), references[5:9])
    voices = mixer.draw_mixture(np.random.default_rng((7, 5))).voices
    with_noise = mixer.render_voices(voices, speech.cut)
    levels = [gain_between(10.0, voice.loudness) for voice in voices]
    for voice in voices:
        voice.noise_floor = None
    noises = (with_noise - mixer.render_voices(voices, speech.cut)).std(dim=1)
    torch.testing.assert_close(noises, torch.tensor(levels), rtol=0.05, atol=0)


def test_processes_take_turns_at_the_speech_on_the_device(build_mixer):
    speech = ResidentSpeech(build_mixer(TILT), torch.device("cpu"))
    one = [batch["mixture"] for batch in ResidentLoader(speech, 72, range(8, 24), 4)]
    assert [len(part) for part in one] == [4] * 4
    even, odd = (
        [batch["mixture"] for batch in ResidentLoader(speech, 72, range(8, 24), 4, rank, 2)] for rank in (0, 1)
    )
    assert all(torch.equal(*pair) for pair in zip(one, [even[0], odd[0], even[1], odd[1]], strict=True))
