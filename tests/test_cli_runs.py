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
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import soundfile

from audioslots_hf import separation
from audioslots_hf.files import replacing
from audioslots_hf.separator import Separator
from tests.audio_helpers import noise
from tests.cli_helpers import NUM_SAMPLES, files_in, replace_model, write


@pytest.mark.parametrize("when", ["separating", "drawing"])
def test_an_interrupted_run_leaves_no_temporary_file(separate, tmp_path, monkeypatch, when):
    def interrupt(path, *arguments):
        if isinstance(path, Path):
            path.write_text("half a picture")
        raise KeyboardInterrupt

    if when == "separating":
        monkeypatch.setattr(Separator, "separate_chunks", interrupt)
    else:
        monkeypatch.setattr(separation, "plot_separation", interrupt)
    status, _, errors = separate(write(tmp_path / "a.wav"), "--plot")
    assert status == 130 and errors.endswith("audioslots: stopped\n")
    finished = [] if when == "separating" else [".audioslots", "a_source_0.wav", "a_source_1.wav"]
    assert [path.name for path in sorted((tmp_path / "out").iterdir())] == finished


@pytest.mark.parametrize("number, expected", [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_to_stop_leaves_no_temporary_file_and_its_own_status(
    separate, tmp_path, monkeypatch, number, expected
):
    monkeypatch.setattr(Separator, "separate_chunks", lambda *_: os.kill(os.getpid(), number))
    # the tests may run under nohup, which ignores SIGHUP
    before = signal.signal(number, signal.SIG_DFL)
    try:
        status, _, errors = separate(write(tmp_path / "a.wav"))
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, before)
    assert status == expected and errors.endswith("audioslots: stopped\n")
    assert files_in(tmp_path / "out") == []


def test_a_rerun_skips_finished_recordings_and_ends_well(separate, tmp_path):
    inputs = [write(tmp_path / "in" / f"{name}.wav").parent for name in "ab"][:1]
    assert separate(tmp_path / "in" / "a.wav")[0] == 0
    before = (tmp_path / "out" / "a_source_0.wav").stat().st_mtime_ns
    status, out, errors = separate(*inputs, "--skip-existing")
    assert status == 0 and "a.wav: skipped, an earlier run finished it" in errors
    assert [Path(line).name for line in out.splitlines()] == ["b_source_0.wav", "b_source_1.wav"]
    assert (tmp_path / "out" / "a_source_0.wav").stat().st_mtime_ns == before
    # a run that was killed between two tracks
    (tmp_path / "out" / "a_source_0.wav").unlink()
    status, out, errors = separate(*inputs, "--skip-existing")
    assert status == 0 and [Path(line).name for line in out.splitlines()] == ["a_source_0.wav", "a_source_1.wav"]
    assert separate(*inputs, "--skip-existing")[:2] == (0, "")


def test_force_and_skip_existing_exclude_each_other(separate, tmp_path, capsys):
    with pytest.raises(SystemExit):
        separate(write(tmp_path / "a.wav"), "--force", "--skip-existing")
    assert "not allowed with" in capsys.readouterr().err


def test_temporary_files_of_a_killed_run_are_removed_and_those_of_a_living_one_stay(separate, tmp_path):
    out = tmp_path / "out"
    for name in ("lock", "0.w64", "a_source_0.wav"):
        write(out / ".tmp-killed" / "a.wav").with_name(name).touch()
    with replacing(out / "a_source_0.wav") as temporary:
        temporary.touch()
        status, _, errors = separate(write(tmp_path / "a.wav"))
        assert status == 0 and "removed 1 temporary folder of runs that were killed" in errors
        assert temporary.exists() and not (out / ".tmp-killed").exists()


RUN_THRICE = """
import sys
from audioslots_hf.cli import main
print("ready", flush=True)
sys.stdin.readline()
for _ in range(3):
    status = main(["separate", *sys.argv[1:], "--device", "cpu", "--force", "--report", "--rttm", "--json"])
    assert status == 0, status
"""


@pytest.mark.slow
def test_two_runs_at_once_on_one_recording_and_folder_both_succeed(checkpoint, tmp_path):
    words = [write(tmp_path / "a.wav"), "-o", tmp_path / "out", "--model", checkpoint]
    command = [sys.executable, "-c", RUN_THRICE, *map(str, words)]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    runs = [subprocess.Popen(command, text=True, **pipes) for _ in range(2)]
    for run in runs:
        assert run.stdout.readline() == "ready\n"
    for run in runs:
        run.stdin.write("go\n")
        run.stdin.flush()
    for run in runs:
        _, errors = run.communicate(timeout=300)
        assert run.returncode == 0, errors
    written = [path.name for path in sorted((tmp_path / "out").iterdir())]
    assert [name for name in written if name.startswith(".")] == [".audioslots"]
    for name in written:
        if name.endswith(".wav"):
            assert soundfile.info(tmp_path / "out" / name).frames == NUM_SAMPLES


def test_a_full_disk_is_called_so(separate, tmp_path, monkeypatch):
    def fail(*arguments):
        raise soundfile.LibsndfileError(2)

    path = write(tmp_path / "a.wav")
    monkeypatch.setattr(soundfile.SoundFile, "write", fail)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=4096))
    status, _, errors = separate(path)
    assert status == 1 and f"a.wav: The disk that holds {tmp_path / 'out'} is full" in errors
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=2**40))
    status, _, errors = separate(path)
    assert status == 1 and "a quota or a limit of file sizes is reached" in errors
    assert files_in(tmp_path / "out") == []


def test_nothing_is_overwritten_without_force(separate, tmp_path):
    path = write(tmp_path / "a.wav")
    second = tmp_path / "out" / "a_source_1.wav"
    second.parent.mkdir()
    second.write_text("mine")
    status, _, errors = separate(path)
    assert status == 1 and f"{second} exists: pass --force" in errors
    assert files_in(tmp_path / "out") == ["a_source_1.wav"] and second.read_text() == "mine"
    assert separate(path, "--force")[0] == 0
    assert soundfile.info(second).frames == NUM_SAMPLES


def test_a_picture_is_not_overwritten_without_force(separate, tmp_path):
    picture = tmp_path / "out" / "a_separation.png"
    picture.parent.mkdir()
    picture.write_text("mine")
    status, _, errors = separate(write(tmp_path / "a.wav"), "--plot")
    assert status == 1 and f"{picture} exists" in errors
    assert files_in(tmp_path / "out") == ["a_separation.png"] and picture.read_text() == "mine"


def test_force_never_overwrites_a_track_that_is_an_input_too(separate, tmp_path):
    for name in ("two.wav", "two_source_0.wav"):
        write(tmp_path / "out" / name)
    before = (tmp_path / "out" / "two_source_0.wav").read_bytes()
    status, _, error = separate(tmp_path / "out", "--force")
    assert status == 1 and "two_source_0.wav is both an input and a track of two" in error
    assert (tmp_path / "out" / "two_source_0.wav").read_bytes() == before


@pytest.mark.parametrize("name, num_channels", [("a.wav", 1), ("a.mp3", 2)])
def test_plot_draws_a_picture(separate, tmp_path, name, num_channels):
    status, output, _ = separate(write(tmp_path / name, noise(NUM_SAMPLES, num_channels)), "--plot")
    picture = tmp_path / "out" / "a_separation.png"
    assert status == 0 and output.splitlines()[-1] == str(picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert len(files_in(tmp_path / "out")) == 3


def test_the_picture_shows_half_a_minute_of_every_track(separate, tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(separation, "plot_separation", lambda path, tracks, rate: drawn.update(tracks) or path.touch())
    replace_model(monkeypatch, shares=[0.5, 0.5])
    assert separate(write(tmp_path / "a.wav", noise(31 * 8000), 8000), "--plot")[0] == 0
    assert {title: len(samples) for title, samples in drawn.items()} == dict.fromkeys(
        ["mixture: a.wav", "estimate: a_source_0.wav", "estimate: a_source_1.wav"], 30 * 8000
    )


def test_plot_without_matplotlib_says_so_before_any_work(separate, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    status, _, errors = separate(write(tmp_path / "a.wav"), "--plot")
    assert status == 1 and errors == "audioslots: error: Pictures need matplotlib: pip install 'audioslots-hf[plot]'\n"
    assert not (tmp_path / "out").exists()
