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
import json
import math

import numpy as np
import pytest

from training.benchmark import hours
from training.benchmark.curves import fit_curve, hindcast_error
from training.settings import SettingsError


TABLE = """\
| run | change | started from | steps | hours | parameters | standing list | commit |
| --- | --- | --- | --- | --- | --- | --- | --- |
| `first` | | scratch | 1,000 | 1.0 | 7 | 2.00 | a |
| `second` | | `a:training/weights/first/model.safetensors` | 1,000 | 1.0 | 7 | 4.00 | b |
| `aside` | | scratch | 9,000 | 9.0 | 7 | 1.00 | c |
| `unscored` | | `b:training/weights/second/model.safetensors` | 1,000 | 2.0 | 7 | not run | d |
| `third` | | `d:src/audioslots_hf/checkpoints/unscored/model.safetensors` | 2,000 | 4.0 | 7 | 8.00 | e |
"""


def build_options(tmp_path, *values: str) -> argparse.Namespace:
    history = tmp_path / "HISTORY.md"
    history.write_text(TABLE)
    parser = argparse.ArgumentParser()
    hours.add_arguments(parser)
    return parser.parse_args([f"--history={history}", "--from-hours=1", "--ceilings=9", *values])


@pytest.mark.parametrize("ceiling", [None, 20.0])
def test_a_fit_finds_the_curve_that_made_the_scores_and_inverts_it(ceiling):
    compute = [1.0, 3.0, 5.0, 17.0]
    if ceiling is None:
        scores = [1.5 * math.log2(amount) - 0.5 for amount in compute]
    else:
        scores = [ceiling - 12 * amount**-0.4 for amount in compute]
    fit = fit_curve(compute, scores, ceiling)
    assert fit.rms_db == pytest.approx(0, abs=1e-9)
    for amount, score in zip(compute, scores, strict=True):
        assert fit.score(amount) == pytest.approx(score)
        assert fit.compute(score) == pytest.approx(amount)


def test_a_score_out_of_reach_needs_infinite_compute():
    assert fit_curve([1, 2, 4], [1, 2, 3], ceiling=5.0).compute(5.0) == math.inf
    # curves that fall
    assert fit_curve([1, 2, 4], [3, 2, 1]).compute(5.0) == math.inf
    assert fit_curve([1, 2, 4], [3, 2, 1], ceiling=5.0).compute(4.0) == math.inf


def test_a_hindcast_uses_the_points_up_to_half_of_the_compute():
    # one more doubling than known, with 0.5 dB less than the two before it
    assert hindcast_error([1, 2, 4, 8], [1, 2, 3, 3.5]) == pytest.approx(-0.5)
    assert hindcast_error([1, 4, 5, 8], [1, 2, 3, 4]) is None


def test_hours_and_steps_add_up_along_the_runs_that_started_from_each_other(tmp_path, capsys):
    result = hours.run(build_options(tmp_path, "--run=third", "--targets", "10", "--figure", str(tmp_path / "a.png")))
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:5] == [
        "| `first` | 1,000 | 1.0 | 2.00 |",
        "| `second` | 2,000 | 2.0 | 4.00 |",
        "| `third` | 5,000 | 8.0 | 8.00 |",
    ]
    assert (result["hours"], result["si_snri"]) == (8.0, 8.0)
    plain, bounded = result["fits"]
    # exactly 2 dB in each doubling
    assert plain["hours"]["10"] == pytest.approx(16)
    assert bounded["hours"]["10"] is None
    assert json.loads(json.dumps(result)) == result
    assert (tmp_path / "a.png").stat().st_size > 1000


@pytest.mark.parametrize(
    "values, error",
    [
        (["--run=none"], r"`--run` \(none\) has no row"),
        (["--run=third", "--from-hours=5"], "leaves 1 scored runs"),
        (["--run=third", "--ceilings=7"], "`--ceilings` 7 must be above the best score, 8 dB"),
    ],
)
def test_options_without_a_fit_are_refused(tmp_path, values, error):
    with pytest.raises(SettingsError, match=error):
        hours.run(build_options(tmp_path, *values))


def test_the_default_run_is_in_the_history_of_this_project():
    rows = hours.read_history(hours.HISTORY)
    chain = hours.trace(rows, "galr-cpu-152k")
    assert chain[0].started_from is None
    assert np.sum([row.hours for row in chain]) > 25
