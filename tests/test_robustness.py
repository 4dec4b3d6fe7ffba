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
import time
from pathlib import Path

import numpy as np
import pytest

from audioslots_hf.recordings import load_recording
from training.benchmark import robustness
from training.benchmark.robustness import Worker, make_seeds, mutate


def fuzz(*words: str) -> dict[str, float]:
    parser = argparse.ArgumentParser()
    robustness.add_arguments(parser)
    return robustness.run(parser.parse_args(words))


def test_every_seed_is_a_recording_and_damage_is_the_same_for_the_same_seed():
    for suffix, content in make_seeds():
        # codecs fill frames up
        recording = load_recording(content, 16000)
        duration_s = recording.waveforms.shape[1] / recording.sampling_rate
        assert duration_s == pytest.approx(robustness.DURATION_S, abs=0.2), suffix
        damaged = [mutate(content, b"other" * 99, np.random.default_rng(3)) for _ in range(2)]
        assert damaged[0] == damaged[1] != content


def end_process(path: Path) -> str:
    import os

    os._exit(3)


def sleep(path: Path) -> str:
    time.sleep(60)
    return "read"


def name(path: Path) -> str:
    return path.name


def test_a_process_that_ends_or_hangs_is_counted_and_another_begun(tmp_path, monkeypatch):
    assert Worker(name, 30).run(tmp_path / "a") == "a"
    worker = Worker(end_process, 30)
    assert worker.run(tmp_path) == worker.run(tmp_path) == "crashes"
    worker.stop()
    worker = Worker(sleep, 0.1)
    worker.is_warm = True
    assert worker.run(tmp_path) == "hangs" and worker.process.is_alive()
    worker.stop()


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [["--files", "10000", "--minutes", "8"], ["--separate", "--files", "500", "--minutes", "8"]]
)
def test_damaged_files_are_read_or_refused(words):
    results = fuzz(*words, "--seed", "1")
    assert results["errors"] == results["crashes"] == results["hangs"] == 0
    assert results["read"] > 0.1 * results["files"] > 0 and results["refused"] > 0
    # what imports take, and the model
    assert results["peak_mib"] < 2500
