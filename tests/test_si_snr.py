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
import functools
import sys
from pathlib import Path

import evaluate
import numpy as np
import pytest
import torch

from audioslots_hf.metrics import score_separation
from tests.audio_helpers import noise
from training.metrics.si_snr import si_snr
from training.metrics.si_snr.si_snr import SiSnr


SCORES = ("si_snr", "si_snri", "sdr", "sdri")


@pytest.fixture
def examples() -> dict[str, list[np.ndarray]]:
    """Two examples of different length, of two and of three sources, with their estimates in reverse order."""
    references = [noise(2, 900), noise(3, 700, seed=1)]
    return {
        "predictions": [reference[::-1] + 0.3 * noise(*reference.shape, seed=2) for reference in references],
        "references": references,
        "mixtures": [reference.sum(axis=0) for reference in references],
    }


def load_by_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> evaluate.Metric:
    """Load as users do; the library puts its copy of the script into this folder."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    init = functools.partial(evaluate.loading.init_dynamic_modules, hf_modules_cache=folder / "modules")
    monkeypatch.setattr(evaluate.loading, "init_dynamic_modules", init)
    return evaluate.load(str(Path(si_snr.__file__).parent), cache_dir=str(folder))


@pytest.fixture(params=["class", "path"])
def metric(request, tmp_path, monkeypatch) -> evaluate.Metric:
    return SiSnr(cache_dir=str(tmp_path)) if request.param == "class" else load_by_path(tmp_path, monkeypatch)


def test_scores_of_ragged_examples_are_those_of_the_package(metric, examples):
    expected = {name: [] for name in SCORES}
    for estimates, references, mixture in zip(*examples.values(), strict=True):
        tensors = (torch.from_numpy(array.astype(np.float32))[None] for array in (estimates, references, mixture))
        scores = score_separation(*tensors)
        for name in SCORES:
            expected[name] += scores[name][0].tolist()
    result = metric.compute(**examples)
    assert result.pop("order") == [[1, 0], [2, 1, 0]]
    # five sources, each with the same weight
    assert result == pytest.approx({name: sum(values) / 5 for name, values in expected.items()}, abs=1e-9)


def test_without_mixtures_there_are_no_improvements(metric, examples):
    mixtures = examples.pop("mixtures")
    assert set(metric.compute(**examples)) == {"si_snr", "sdr", "order"}
    assert set(metric.compute(**examples, mixtures=mixtures)) == {*SCORES, "order"}


def test_examples_can_be_added_one_by_one(metric, examples):
    expected = metric.compute(**examples)
    for prediction, reference, mixture in zip(*examples.values(), strict=True):
        metric.add(prediction=prediction, reference=reference, mixtures=mixture)
    assert metric.compute() == expected
    metric.add_batch(predictions=examples["predictions"], references=examples["references"])
    assert metric.compute()["si_snr"] == expected["si_snr"]


@pytest.mark.parametrize(
    "spoil, message",
    [
        ({"predictions": [np.zeros((1, 900)), np.zeros((3, 700))]}, "Example 0 has 1 predictions and 2 references"),
        (
            {"predictions": [np.zeros((2, 900)), np.zeros((3, 699))]},
            "of example 1 must have one length, .* prediction 0 699, .* reference 0 700, .* mixture 700",
        ),
        ({"mixtures": [np.zeros(900), np.zeros(701)]}, "of example 1 must have one length, .* mixture 701"),
        ({"mixtures": [np.zeros(900), None]}, "1 of 2 examples have no mixture: give all of them or none"),
        ({"predictions": [np.zeros((2, 900))]}, r"number of predictions \(1\) and references \(2\)"),
        ({"mixtures": [np.zeros(900)]}, r"number of predictions \(2\) and mixtures \(1\)"),
        ({"predictions": None}, "Give both `predictions` and `references`"),
        ({"predictions": [], "references": [], "mixtures": None}, "There are no examples to score"),
    ],
)
def test_inconsistent_inputs_are_an_error(tmp_path, examples, spoil, message):
    with pytest.raises(ValueError, match=message):
        SiSnr(cache_dir=str(tmp_path)).compute(**{**examples, **spoil})
