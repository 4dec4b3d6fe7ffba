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
"""Every command of training/README.md, on the voices of the tests and with tiny models, in the order in which they stand."""

import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import SAMPLES
from training.arguments import load_arguments
from training.data.__main__ import build_parser


ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "training" / "README.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^#+ ([^\n]+)\n(.*?)(?=^#+ |\Z)", TEXT, re.DOTALL | re.MULTILINE))
DUAL_PATH = {
    "chunk_length": 8000,
    "hidden_size": 8,
    "encoder_kernel_size": 32,
    "segment_length": 20,
    "lstm_hidden_size": 4,
    "num_hidden_layers": 1,
}
TINY = {
    "galr": DUAL_PATH | {"model_type": "galr", "num_attention_heads": 2},
    "dprnn": DUAL_PATH | {"model_type": "dprnn"},
    # those of the debug config
    "audioslots": None,
}
FEW_STEPS = ["max_steps=2", "log_steps=1", "save_steps=1", "valid_steps=2", "num_workers=0", "num_valid_mixtures=1"]
# the runs of this process share one precision
FEW_STEPS += ["mixed_precision=no", "compile=false"]


def commands_of(section: str) -> list[str]:
    """The lines of its bash blocks, joined where they go on."""
    blocks = "\n".join(re.findall(r"```bash\n(.*?)```", SECTIONS[section], re.DOTALL))
    lines = blocks.replace("\\\n", " ").splitlines()
    return [line.partition("  # ")[0].strip() for line in lines if line and not line.startswith("#SBATCH")]


@pytest.fixture
def workplace(tmp_path, monkeypatch) -> Path:
    """A folder where the paths of the README exist."""
    for name in ("training", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    for name in ("my_speech", "my_other_speech", "my_recordings", "data/LibriSpeech"):
        shutil.copytree(SAMPLES / "speech", tmp_path / name)
    metadata = tmp_path / "data" / "LibriMix" / "metadata" / "Libri2Mix"
    metadata.mkdir(parents=True)
    for split in ("train-clean-360", "dev-clean", "test-clean"):
        shutil.copy(SAMPLES / "valid.csv", metadata / f"libri2mix_{split}.csv")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shrink(config: str, overrides: list[str]) -> list[str]:
    """Overrides that make a run of any config take seconds."""
    arguments = load_arguments(ROOT / config, overrides)
    family = arguments.model.get("model_type", "audioslots")
    model = TINY[family] or load_arguments(ROOT / "training/configs/debug.yaml", []).model
    if name := arguments.model.get("pretrained"):
        model = {"pretrained": name, "chunk_length": DUAL_PATH["chunk_length"]}
    own = {key: value for key, value in arguments.model.items() if key in ("num_sources", "num_slots", "slot_module")}
    return [*FEW_STEPS, f"model={model | own}"]


def check_processes(command: str) -> None:
    """Fail if the batch cannot be shared out among the processes that a command starts."""
    number = re.search(r"--num_processes (\d+)", command)
    num_processes = int(number[1]) if number else 1
    words = shlex.split(re.search(r"training/run_training\.py [^']*", command)[0])
    assert load_arguments(ROOT / words[1], words[2:]).batch_size % num_processes == 0, command


def run(command: str, monkeypatch) -> None:
    """Run one command in this process; of commands that need the network or GPUs, only parse the arguments."""
    words = shlex.split(command)
    # under Slurm it is inside the argument of a shell
    if training := re.search(r"training/run_training\.py [^']*", command):
        check_processes(command)
        words = shlex.split(training[0])
        words += shrink(words[1], words[2:])
        monkeypatch.setattr(sys, "argv", words)
        runpy.run_path(words[0], run_name="__main__")
    elif words[:2] == ["python", "-m"]:
        if "--librispeech" in words:
            build_parser().parse_args(words[3:])
            return
        words = [word.replace("training/results/", "results/") for word in words]
        if "gpu-step" in words:
            words += [*shrink(words[4], words[5:]), "--steps", "1", "--warmup-steps", "0"]
        words = [str(ROOT / word) if word == "training/results" else word for word in words]
        monkeypatch.setattr(sys, "argv", words[2:])
        try:
            runpy.run_module(words[2], run_name="__main__", alter_sys=True)
        except SystemExit as stop:
            assert not stop.code, command
    elif words[0] == "tar":
        subprocess.run(["bash", "-o", "pipefail", "-c", command], check=True)
    else:
        assert words[0] in ("pip", "git") or words[0] == "export", command


@pytest.mark.slow
# the benchmarks and the training of the voice encoder have tests of their own
@pytest.mark.parametrize("section", [name for name in SECTIONS if name not in ("Benchmarks", "The voice encoder")])
def test_the_commands_of_a_section_run_one_after_the_other(section, workplace, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    commands = commands_of(section)
    assert commands
    for command in commands:
        run(command, monkeypatch)
    assert any(workplace.joinpath(name).exists() for name in ("runs", "report")), section


@pytest.mark.slow
def test_parcels_arrive_complete(workplace):
    (workplace / "parcel" / "speech").mkdir(parents=True)
    (workplace / "parcel" / "speech" / "a.opus").write_bytes(bytes(range(256)))
    [pack] = [line for line in commands_of("A GPU for half an hour") if "speech.tar." in line]
    [unpack] = re.findall(r"# on the GPU machine: (.*)", SECTIONS["A GPU for half an hour"])
    subprocess.run(["bash", "-o", "pipefail", "-c", pack], check=True)
    shutil.rmtree(workplace / "parcel" / "speech")
    subprocess.run(["bash", "-o", "pipefail", "-c", unpack], check=True)
    assert (workplace / "parcel" / "speech" / "a.opus").read_bytes() == bytes(range(256))


@pytest.mark.slow
def test_two_processes_start_as_the_readme_says(workplace):
    [command] = [line for line in commands_of("Many GPUs and nodes") if "torch.distributed.run" in line]
    command = command.replace("python -m", f"{shlex.quote(sys.executable)} -m")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.run(
        [*shlex.split(f"bash -c {shlex.quote(f'{command} max_steps=2')}")],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert (workplace / "runs" / "two" / "last" / "model.safetensors").exists()


def test_the_readme_lists_every_config_and_benchmark():
    from training.benchmark.__main__ import BENCHMARKS

    for path in sorted((ROOT / "training" / "configs").glob("*.yaml")):
        assert f"`{path.name}`" in TEXT, path.name
    assert all(f"`{name}`" in TEXT for name in BENCHMARKS)
