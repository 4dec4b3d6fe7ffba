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
from types import SimpleNamespace

import pytest

from tests.conftest import SAMPLES
from tests.test_checkpoints import TINY_GALR
from tests.training_helpers import CONFIGS, read_log
from training.benchmark import race
from training.settings import SettingsError


MODEL, _ = TINY_GALR
SHARED = [
    f"speech.0.root={SAMPLES / 'speech'}",
    f"valid.metadata={SAMPLES / 'valid.csv'}",
    f"valid.root={SAMPLES / 'speech'}",
    "num_valid_mixtures=1",
    "max_steps=2",
    "log_steps=1",
    MODEL,
]


def build_options(output, *values: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    race.add_arguments(parser)
    return parser.parse_args([*SHARED, f"--output={output}", *values])


# a slice this short is one step
STEPWISE = ("--minutes=9", "--slice-minutes=1e-9")
CONFIGS_OF_RACE = ("--configs", "debug.yaml", "debug.yaml model.hidden_size=8 ema_decay=0.9")


def test_a_race_trains_in_turns_and_draws_curves_of_equal_data(tmp_path, monkeypatch):
    turns = []
    trained = race.Contestant.train

    def record(contestant, slice_s):
        turns.append(contestant.name)
        # interrupted before the third turn
        if len(turns) == 3:
            raise KeyboardInterrupt
        trained(contestant, slice_s)

    monkeypatch.setattr(race.Contestant, "train", record)
    options = build_options(tmp_path, *STEPWISE, *CONFIGS_OF_RACE)
    with pytest.raises(KeyboardInterrupt):
        race.run(options)
    assert set(turns[:2]) == set(options.configs)
    result = race.run(options)
    # four steps in four turns: none is repeated after the interruption
    assert len(turns) == 5
    assert (tmp_path / "race.png").stat().st_size > 1000
    assert json.loads((tmp_path / "race.json").read_text()) == result
    for curve in result["curves"].values():
        assert [point["step"] for point in curve] == [0, 1, 2]
        minutes = [point["minutes"] for point in curve]
        assert minutes[0] == 0
        assert minutes == sorted(set(minutes))


def test_a_contestant_stops_at_its_minutes_and_one_with_infinite_losses_leaves(tmp_path, monkeypatch):
    clock = iter(range(0, 10_000, 30))
    monkeypatch.setattr(race.RaceRun, "read_clock", lambda run: next(clock))
    options = build_options(
        tmp_path, "--minutes=1", "--configs", "debug.yaml", "debug.yaml learning_rate=1e20 warmup_steps=0"
    )
    result = race.run(options)
    good, bad = options.configs
    assert list(result["failures"]) == [bad]
    assert [(point["step"], point["minutes"]) for point in result["curves"][good]] == [(0, 0.0), (2, 1.0)]
    assert list(read_log(tmp_path / "debug")) == [1, 2]


@pytest.mark.parametrize(
    "values, error",
    [
        (
            ["--minutes=1", "--configs", "debug.yaml", "debug.yaml batch_size=2"],
            "`batch_size` is 2 in 'debug.yaml batch",
        ),
        (
            ["--minutes=1", "--configs", "debug.yaml", "debug.yaml model.chunk_length=8000"],
            "`model.chunk_length` is 8000",
        ),
        (["--minutes=1", "--configs", "debug.yaml", "debug.yaml"], "names 'debug.yaml' twice"),
        (["--minutes=0", "--configs", "debug.yaml"], r"`--minutes` \(0.0\) must be above 0"),
        (["--minutes=1", "--configs", "debug.yaml valid=null"], "has no validation mixtures"),
    ],
)
def test_an_unfair_race_is_refused_before_any_work(tmp_path, values, error):
    with pytest.raises(SettingsError, match=error):
        race.run(build_options(tmp_path / "race", *values))
    assert not (tmp_path / "race").exists()


def test_the_configs_of_a_race_are_found_by_name(tmp_path):
    contestant = race.load_contestant("galr-cpu.yaml model.encoder_kernel_size=32", [], tmp_path)
    assert (CONFIGS / "galr-cpu.yaml").exists()
    assert contestant.folder == tmp_path / "galr-cpu_model.encoder_kernel_size=32"
    assert contestant.arguments.model["encoder_kernel_size"] == 32


def test_contestants_are_compared_at_the_compute_and_at_the_steps_that_all_have_reached(monkeypatch, capsys):
    curves = {
        "slow": [(0.0, 0, 0.0), (1.0, 10, 1.0), (2.0, 20, 2.0)],
        # twice as many steps a minute, interrupted a minute later
        "fast": [(0.0, 0, 0.0), (1.0, 20, 3.0), (2.0, 40, 4.0), (3.0, 60, 5.0)],
    }
    monkeypatch.setattr(
        race,
        "read_curve",
        lambda name: [dict(zip(("minutes", "step", "si_snri"), point, strict=True)) for point in curves[name]],
    )
    monkeypatch.setattr(race, "count_parameters", lambda item: 7)
    rows = race.compare([SimpleNamespace(name=name, folder=name) for name in curves])
    assert rows["slow"] == {
        "parameters": 7,
        "steps": 20,
        "at_equal_compute": 2.0,
        "at_equal_steps": 2.0,
        "db_per_doubling": pytest.approx(1.0),
    }
    assert (rows["fast"]["steps"], rows["fast"]["at_equal_compute"], rows["fast"]["at_equal_steps"]) == (40, 4.0, 3.0)
    assert "| `fast` | 7 | 40 | 4.00 | 3.00 |" in capsys.readouterr().out


def test_a_race_without_a_survivor_has_no_rows(tmp_path):
    options = build_options(tmp_path, "--minutes=1", "--configs", "debug.yaml learning_rate=1e20 warmup_steps=0")
    result = race.run(options)
    assert result["rows"] == {}
    assert list(result["failures"]) == options.configs
