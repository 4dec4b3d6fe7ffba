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
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from training.data.augmentations import DynamicRangeCompression, HighPass, Polarity, SpectralTilt, SpeedPerturbation
from training.data.effects import compress_dynamic_range, high_pass
from training.data.loudness import loudness_lufs
from training.data.mixer import DrawnVoice, SpeechMixer
from training.data.speech import Utterance


SPEEDS = SpeedPerturbation(factors=[0.8, 0.95, 1.2])
TILT = SpectralTilt(max_db=3.0)
COMPRESSION = DynamicRangeCompression(max_exponent=0.8)
HIGH_PASS = HighPass(cutoff_hz=[50.0, 400.0])


def test_drawn_voices_have_librimixs_loudness(build_mixer):
    whole = build_mixer(crop_length=76160)
    rng = np.random.default_rng(0)
    drawn = [whole.draw_voice(0, speaker, rng) for speaker in (0, 1) for _ in range(4)]
    voices = whole.render_voices(drawn, whole.read)
    assert all(-33.3 < loudness_lufs(voice.numpy(), 16000) < -24.7 for voice in voices)


def test_the_voices_of_a_mixture_are_different_speakers():
    marked = SpeechMixer([[[speaker] for speaker in range(5)]], 2, 4000, 16000)
    utterance = Utterance(Path("a.wav"), 4001, -30.0, np.full(4001, 16384, dtype=np.int16))
    drawn = []

    def draw_marked(folder, speaker, rng):
        drawn.append(speaker)
        return DrawnVoice(utterance, 0, 4001, Fraction(1), loudness=-30.0)

    marked.draw_voice = draw_marked
    for index in range(50):
        drawn.clear()
        mixture = marked.draw(np.random.default_rng(index))
        assert len(set(drawn)) == 2
        # the rule of the peak
        assert mixture.sum(dim=0).max().item() == pytest.approx(0.9)


def test_folders_are_drawn_by_their_weights():
    weighted = SpeechMixer([[["one"]], [["one"]], [["one"]]], 1, 4000, 16000, sampling_weights=[1.0, 2.0, 1.0])
    drawn = []
    weighted.draw_voice = lambda folder, speaker, rng: drawn.append(folder)
    for index in range(400):
        weighted.draw_mixture(np.random.default_rng(index))
    # three standard deviations of 400 draws
    assert abs(drawn.count(1) / 400 - 0.5) < 0.075 and abs(drawn.count(0) / 400 - 0.25) < 0.065


@pytest.mark.parametrize(("crop_length", "starts"), [(89, range(11)), (99, range(1)), (119, range(-20, 1))])
def test_crops_come_from_all_over_the_recording(crop_length, starts):
    utterance = Utterance(Path("a.wav"), 100, -30.0, np.arange(1, 101, dtype=np.int16))
    cropper = SpeechMixer([[[utterance]]], 1, crop_length, 16000)
    rng = np.random.default_rng(0)
    voices = [cropper.draw_voice(0, 0, rng) for _ in range(400)]
    assert {voice.start for voice in voices} == set(starts)
    for voice, rendered in zip(voices[:20], cropper.render_voices(voices[:20], cropper.read), strict=True):
        expected = np.arange(voice.start + 1, voice.start + 1 + crop_length)
        expected[(expected < 1) | (expected > 100)] = 0
        gain = 10 ** ((voice.loudness + 30) / 20) / 32768
        np.testing.assert_allclose(rendered, expected * gain, rtol=1e-5)


def test_each_voice_has_its_own_speed(build_mixer):
    drawn = [
        voice for seed in range(50) for voice in build_mixer(SPEEDS).draw_mixture(np.random.default_rng(seed)).voices
    ]
    assert {voice.speed for voice in drawn} == {Fraction(4, 5), Fraction(19, 20), Fraction(6, 5)}
    assert all(voice.num_samples == np.ceil(4000 * voice.speed) + 1 for voice in drawn)


def test_augmentations_change_no_draw_of_the_voices(build_mixer):
    plain = build_mixer().draw_mixture(np.random.default_rng(3))
    augmented = build_mixer(TILT, HIGH_PASS, Polarity()).draw_mixture(np.random.default_rng(3))
    assert augmented.voices == plain.voices and plain.parameters == []
    assert [len(numbers) for numbers in augmented.parameters] == [2, 2, 2]


def test_augmentations_are_applied_in_the_order_of_the_list(build_mixer):
    mixer = build_mixer(COMPRESSION, HIGH_PASS, Polarity())
    drawn = [mixer.draw_mixture(np.random.default_rng(seed)) for seed in range(3)]
    expected = mixer.render_voices([voice for mixture in drawn for voice in mixture.voices], mixer.read).view(3, 2, -1)
    exponents, cutoffs_hz, signs = (
        torch.tensor([mixture.parameters[index] for mixture in drawn]) for index in range(3)
    )
    expected = high_pass(compress_dynamic_range(expected, exponents, 16000), cutoffs_hz, 16000) * signs[..., None]
    torch.testing.assert_close(mixer.render(drawn, mixer.read), expected)
