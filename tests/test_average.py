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

import copy

import pytest
import torch

from audioslots_hf import load_separator
from training import average


@pytest.fixture
def fine_tuned(checkpoint, tmp_path):
    """A model with other weights in the architecture of the checkpoint"""
    pipeline = load_separator(checkpoint, device="cpu")
    with torch.no_grad():
        for parameter in pipeline.model.parameters():
            parameter += 0.1
    pipeline.model.save_pretrained(tmp_path / "fine-tuned")
    pipeline.feature_extractor.save_pretrained(tmp_path / "fine-tuned")
    return tmp_path / "fine-tuned"


def test_the_mean_of_two_models_is_a_model_half_way_between_them(checkpoint, fine_tuned, tmp_path):
    # in a folder that does not exist yet, as runs/NAME of a new run
    mean = tmp_path / "runs" / "mean" / "last"
    average.main([str(checkpoint), str(fine_tuned), "--output", str(mean)])
    states = [load_separator(folder, device="cpu").model.state_dict() for folder in (checkpoint, mean)]
    names = [name for name, _ in load_separator(checkpoint, device="cpu").model.named_parameters()]
    assert names
    for name in names:
        torch.testing.assert_close(states[1][name], states[0][name] + 0.05)


def test_shares_weigh_the_models(checkpoint, fine_tuned, capsys, tmp_path):
    arguments = [str(checkpoint), str(fine_tuned), "--output", str(tmp_path / "mean"), "--shares"]
    for wrong in (["1"], ["1", "-1"], ["1", "inf"]):
        with pytest.raises(SystemExit):
            average.main([*arguments, *wrong])
        assert "must be 2 positive numbers, one for each model" in capsys.readouterr().err
    average.main([*arguments, "3", "1"])
    states = [load_separator(folder, device="cpu").model.state_dict() for folder in (checkpoint, tmp_path / "mean")]
    name = next(name for name, value in states[0].items() if value.is_floating_point())
    torch.testing.assert_close(states[1][name], states[0][name] + 0.025)


def test_the_mean_of_a_model_and_itself_is_the_model(checkpoint):
    model = load_separator(checkpoint, device="cpu").model
    for name, value in average.average([model, copy.deepcopy(model)], [0.3, 0.9]).items():
        torch.testing.assert_close(value, model.state_dict()[name])


def test_models_that_differ_in_a_setting_have_no_mean(checkpoint, capsys, tmp_path):
    with pytest.raises(SystemExit):
        average.main([str(checkpoint), "galr-small", "--output", str(tmp_path / "mean")])
    assert "The models differ in `" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        average.main(["audioslots-small", "galr-small", "--output", str(tmp_path / "mean")])
    assert "The models differ in `model_type` ('audioslots' and 'galr')" in capsys.readouterr().err
    assert not (tmp_path / "mean").exists()


def test_one_model_has_no_mean(checkpoint, capsys, tmp_path):
    with pytest.raises(SystemExit):
        average.main([str(checkpoint), "--output", str(tmp_path / "mean")])
    assert "a mean needs two or more" in capsys.readouterr().err
