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

import pytest
import torch

from tests.conftest import SAMPLES
from training.arguments import MixtureArguments
from training.benchmark import counting
from training.data.mixtures import load_mixtures
from training.settings import SettingsError


LIST = SAMPLES / "valid.csv"


def parse(*words):
    parser = argparse.ArgumentParser()
    counting.add_arguments(parser)
    return parser.parse_args(["--root", str(SAMPLES / "speech"), "--metadata", str(LIST), *words])


def test_the_numbers_found_in_lone_voices_and_overlaps_are_shares_of_their_recordings(monkeypatch, capsys):
    found = iter([1, 2, 1, 1, 0, 2, 2, 5])
    heard = []

    def pipeline(waveform, sampling_rate, show_progress, num_speakers):
        # by name, so that without a voice encoder the outputs of the model are not counted
        assert num_speakers == "auto"
        heard.append(waveform)
        return [{}] * next(found)

    monkeypatch.setattr(counting, "load_separator", lambda model, device: pipeline)
    results = counting.run(parse("--mixtures", "2", "--seconds", "1", "0.5"))
    assert results["model"] == "galr-small"
    nobody = dict.fromkeys(counting.FOUND, 0.0)
    assert results["shares"] == {
        "1 s": {"one voice": nobody | {"one": 1.0}, "two voices": nobody | {"one": 0.5, "two": 0.5}},
        "0.5 s": {"one voice": nobody | {"none": 0.5, "two": 0.5}, "two voices": nobody | {"two": 0.5, "more": 0.5}},
    }
    assert "| 0.5 | two voices | 2 | 0 % | 0 % | 50 % | 50 % |" in capsys.readouterr().out
    assert [len(waveform) for waveform in heard] == [16000] * 4 + [8000] * 4
    mixture = load_mixtures(MixtureArguments(metadata=str(LIST), root=str(SAMPLES / "speech")), 16000, 2)[0]
    torch.testing.assert_close(torch.from_numpy(heard[0]), mixture.references[0, :16000])
    torch.testing.assert_close(torch.from_numpy(heard[1]), mixture.waveform[:16000])


@pytest.mark.parametrize("number", ["0", "-1"])
def test_fewer_mixtures_than_one_are_refused(number):
    with pytest.raises(SettingsError, match=f"--mixtures is {number}: it must be at least 1"):
        counting.run(parse("--mixtures", number))


@pytest.mark.parametrize("seconds", ["0", "1000"])
def test_lengths_that_no_mixture_has_are_refused(seconds):
    with pytest.raises(SettingsError, match=r"--seconds must be above 0, and at most \d"):
        counting.run(parse("--seconds", "1", seconds))
