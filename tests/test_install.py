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
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest
import soundfile

import audioslots_hf
from tests.environments import list_closure, make_environment, run_in
from training.benchmark import install


ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "tests" / "samples" / "two_voices.flac"
CORE = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
# packages of extras that a plain installation, also one of a torch for CPUs, must do without
EXTRAS = [
    "torchaudio",
    "torchcodec",
    "torchvision",
    "matplotlib",
    "datasets",
    "accelerate",
    "gradio",
    "onnx",
    "pandas",
]
SEPARATE = f"""
import importlib.util, sys
assert not [name for name in {EXTRAS} if importlib.util.find_spec(name)]
from _audioslots_command import main
sys.exit(main(["separate", *sys.argv[1:], "--device", "cpu"]))
"""


def test_the_core_dependencies_hold_no_package_of_an_extra_and_stay_small():
    closure = list_closure(CORE)
    assert not set(EXTRAS) & set(closure)
    # the dependencies of torch depend on its build
    others = {
        name: package for name, package in closure.items() if name not in list_closure(["torch"]) or name == "numpy"
    }
    sizes = {name: sum(file.size or 0 for file in package.files) / 1e6 for name, package in others.items()}
    # transformers, scipy, av and numpy have 350 MB together; a new large package would be seen here
    assert sum(sizes.values()) < 450, sizes


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--num-speakers", "auto", "--rttm"]])
def test_the_command_separates_with_the_core_dependencies_alone(tmp_path, options):
    make_environment(tmp_path / "core", CORE)
    package = Path(audioslots_hf.__file__).parent
    for path in (package, package.with_name("_audioslots_command.py")):
        (tmp_path / "core" / path.name).symlink_to(path)
    printed = run_in(tmp_path / "core", SEPARATE, SAMPLE, "-o", tmp_path / "out", *options)
    tracks = [path for path in printed.splitlines() if path.endswith(".flac")]
    assert [soundfile.info(path).frames for path in tracks] == [soundfile.info(SAMPLE).frames] * 2


@pytest.mark.parametrize(
    "command", ["data", "benchmark", "report", "run_evaluation", "train_voice_encoder", "publish"]
)
def test_every_command_of_training_names_the_extra_that_it_lacks(command):
    # -S: without installed packages
    words = [sys.executable, "-S", "-m", f"training.{command}", "check", "folder"]
    result = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300)
    needs = f"training.{command} needs accelerate, datasets, pydantic, ruamel: pip install 'audioslots-hf[train]'\n"
    assert (result.returncode, result.stdout, result.stderr) == (1, "", needs)


def test_an_installation_is_measured(monkeypatch, capsys):
    commands = []

    def pretend(words: list[str], **options) -> None:
        commands.append([Path(words[0]).name, *words[1:]])
        (Path(words[0]).parent / f"written_{len(commands)}").write_bytes(bytes(2**20))

    def create(folder: Path, with_pip: bool) -> None:
        (folder / "bin").mkdir(parents=True)
        (folder / "lib" / "python3" / "site-packages" / "torch").mkdir(parents=True)

    monkeypatch.setattr(subprocess, "run", pretend)
    monkeypatch.setattr(venv, "create", create)
    parser = argparse.ArgumentParser()
    install.add_arguments(parser)
    result = install.run(parser.parse_args(["--pip", "torch", "--pip", "--no-compile ."]))
    assert [words[:2] for words in commands] == [["pip", "install"]] * 2 + [["audioslots", "separate"]] * 2
    assert commands[1][3:] == ["--no-compile", "."]
    # two files of a MiB, and two more after the runs
    assert (result["installed_mb"], result["used_mb"]) == (2, 4)
    assert "| 2 | 4 | 0 | 0.0 | 0.0 |" in capsys.readouterr().out and json.dumps(result)


def test_a_file_with_two_names_counts_once(tmp_path):
    (tmp_path / "a").write_bytes(bytes(10**6))
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    assert install.measure_size(tmp_path) == pytest.approx(1, abs=0.1)
