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
import csv
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import separate_many

from audioslots_hf.files import write_text
from tests.cli_helpers import files_in, write
from tests.conversation_helpers import turns


ROOT = Path(__file__).parents[1]


@pytest.fixture
def recordings(tmp_path) -> Path:
    """A folder of a dozen short recordings, in two folders."""
    for index in range(12):
        write(
            tmp_path / "in" / f"{index % 2}" / f"{index}.wav", 0.1 * np.random.default_rng(index).standard_normal(4000)
        )
    return tmp_path / "in"


def words(recordings: Path, checkpoint: Path, *options: str) -> list[str]:
    # the last of two options counts; random weights tell no people apart
    people = ["--num-speakers", "outputs"]
    return [str(recordings), "-o", str(recordings.parent / "out"), "--model", str(checkpoint), *people, *options]


def states(folder: Path) -> dict[str, int]:
    """When each track was written."""
    return {name: (folder / name).stat().st_mtime_ns for name in files_in(folder) if name.endswith(".wav")}


def test_a_run_separates_what_is_left_and_lists_failures(recordings, checkpoint, tmp_path, capsys):
    write_text(recordings / "0" / "broken.wav", "no audio")
    assert separate_many.main(words(recordings, checkpoint)) == 1
    assert "0 done before, 12 separated, 1 failed" in capsys.readouterr().out
    before = states(tmp_path / "out")
    assert len(before) == 24
    with open(tmp_path / "out" / "failures.csv", newline="") as file:
        [row] = csv.DictReader(file)
    assert row["recording"].endswith("broken.wav") and "cannot be read as audio" in row["error"]
    # the missing one of the dozen, and the repaired file
    (tmp_path / "out" / "1" / "3_source_0.wav").unlink()
    write(recordings / "0" / "broken.wav")
    assert separate_many.main(words(recordings, checkpoint)) == 0
    assert "11 done before, 2 separated, 0 failed" in capsys.readouterr().out
    after = states(tmp_path / "out")
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {f"0/broken_source_{index}.wav" for index in range(2)} | {
        f"1/3_source_{index}.wav" for index in range(2)
    }
    assert not (tmp_path / "out" / "failures.csv").exists()


def test_a_recording_in_which_nobody_speaks_is_done_too(checkpoint, tmp_path, capsys):
    write(tmp_path / "in" / "call.wav", turns([(0, 0.5, 1.5)], 2.0).sum(dim=0).numpy())
    write(tmp_path / "in" / "silence.wav", np.zeros(8000))
    options = words(tmp_path / "in", checkpoint, "--num-speakers", "auto")
    assert separate_many.main(options) == 0 and separate_many.main(options) == 0
    assert "2 done before, 0 separated, 0 failed" in capsys.readouterr().out
    assert {"call.json", "call.rttm", "silence.json"} <= set(files_in(tmp_path / "out"))


@pytest.mark.parametrize(
    "options, message",
    [
        (["--num-speakers", "0"], "`num_speakers` is 0"),
        (["--num-speakers", "two"], "whole number, 'auto' or 'outputs'"),
    ],
)
def test_invalid_options_are_refused(recordings, checkpoint, capsys, options, message):
    with pytest.raises(SystemExit):
        separate_many.main(words(recordings, checkpoint, *options))
    assert message in capsys.readouterr().err


def start(recordings: Path, checkpoint: Path) -> subprocess.Popen:
    # accelerate's own launcher starts one process on a CPU
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone"]
    command += ["examples/separate_many.py", *words(recordings, checkpoint)]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow
def test_two_processes_that_are_killed_and_started_again_separate_each_file_once(recordings, checkpoint, tmp_path):
    # long enough to be killed in the middle
    for path in recordings.rglob("*.wav"):
        write(path, 0.1 * np.random.default_rng(0).standard_normal(400_000))
    out = tmp_path / "out"
    process = start(recordings, checkpoint)
    deadline = time.monotonic() + 300
    while (
        sum(".tmp" not in str(path) for path in out.rglob("*.wav")) < 6
        and process.poll() is None
        and time.monotonic() < deadline
    ):
        time.sleep(0.05)
    # torchrun puts its processes into sessions of their own
    for started in [*psutil.Process(process.pid).children(recursive=True), process]:
        started.kill()
    process.communicate()
    # the folder of the killed run holds tracks that it had not renamed
    before = {name: state for name, state in states(out).items() if "/." not in f"/{name}"}
    complete = {name for name in before if name.replace("_source_1", "_source_0") in before}
    assert 6 <= len(before) < 24
    process = start(recordings, checkpoint)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert "by 2 processes" in output
    num_before, num_separated = map(int, re.search(r"(\d+) done before, (\d+) separated, 0 failed", output).groups())
    assert num_before + num_separated == 12 and num_before == len({name.split("_")[0] for name in complete})
    after = states(out)
    assert len(after) == 24 and {name: after[name] for name in complete} == {name: before[name] for name in complete}
    # nothing else is left of the killed run
    assert not [path for path in out.rglob(".*") if path.name.startswith((".tmp", ".separating"))]
