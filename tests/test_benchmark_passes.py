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
from collections import Counter

import pytest
import torch

from audioslots_hf import GalrConfig, GalrForAudioSeparation, WaveformFeatureExtractor
from tests.conftest import SAMPLES, TINY_DUAL_PATH
from training.benchmark import passes
from training.settings import SettingsError


def parse(*words):
    parser = argparse.ArgumentParser()
    passes.add_arguments(parser)
    return parser.parse_args(["--root", str(SAMPLES / "speech"), "--metadata", str(SAMPLES / "valid.csv"), *words])


def test_every_number_of_passes_is_scored_and_timed_on_the_same_mixtures(tmp_path, capsys):
    torch.manual_seed(0)
    values = {**TINY_DUAL_PATH, "encoder_kernel_size": 64, "num_attention_heads": 2}
    values |= {"sampling_rate": 16000, "chunk_length": 16000}
    GalrForAudioSeparation(GalrConfig(**values)).save_pretrained(tmp_path)
    WaveformFeatureExtractor(chunk_length=16000).save_pretrained(tmp_path)
    results = passes.run(parse("--mixtures", "2", "--model", str(tmp_path)))
    assert results["mixtures"] == 2 and list(results["passes"]) == ["1", "2", "4"]
    single = results["passes"]["1"]
    assert single == {"si_snri": single["si_snri"], "gain": 0, "standard_error": 0, "time": 1}
    for row in results["passes"].values():
        assert row["gain"] == pytest.approx(row["si_snri"] - single["si_snri"]) and row["time"] > 0
    assert f"| 1 | {single['si_snri']:.2f} | - | 1.0 |" in capsys.readouterr().out


def test_gains_are_means_over_mixtures_with_their_standard_error(capsys):
    rows = passes.describe({1: [10.0, 12.0], 2: [10.5, 13.5]}, Counter({"1": 2.0, "2": 3.0}))
    # gains of 0.5 and 1.5 dB: their standard deviation is 0.5 ** 0.5
    assert rows["2"] == pytest.approx({"si_snri": 12, "gain": 1, "standard_error": 0.5, "time": 1.5})
    assert "| 2 | 12.00 | +1.00 ± 0.50 | 1.5 |" in capsys.readouterr().out


def test_one_mixture_has_no_standard_error():
    with pytest.raises(SettingsError, match="--mixtures is 1: a standard error needs at least 2"):
        passes.run(parse("--mixtures", "1"))


def test_a_model_that_takes_no_passes_is_refused(checkpoint):
    with pytest.raises(
        SettingsError, match="--model: `passes` is 2: the family 'audioslots' does not estimate waveforms"
    ):
        passes.run(parse("--model", str(checkpoint)))
