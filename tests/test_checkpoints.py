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
import json
import multiprocessing
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file

from audioslots_hf.files import write_text
from tests.training_helpers import debug_arguments, read_log
from training import loop
from training.arguments import TrainingArguments
from training.checkpoints import cut_log, list_checkpoints, load_state, prepare_output
from training.loop import train


# its dropout draws in every step
TINY_GALR = (
    "model={model_type: galr, chunk_length: 4000, hidden_size: 16, encoder_kernel_size: 32, segment_length: 20,"
    " lstm_hidden_size: 8, num_hidden_layers: 1, num_attention_heads: 2}",
    "ema_decay=0.9",
)


def write_folder(folder: Path, text: str) -> Path:
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_text(text)
    return folder


LINES = [json.dumps({"step": step, "loss": 0.5}) + "\n" for step in (5, 10, 10, 15)]


@pytest.mark.parametrize(
    ("text", "last_step", "expected"),
    [
        ("".join(LINES), 10, "".join(LINES[:3])),
        ("".join(LINES), 15, "".join(LINES)),
        ("".join(LINES), 0, ""),
        ("".join(LINES[:2]) + LINES[2][:9], 15, "".join(LINES[:2])),
        ("".join(LINES[:2]) + LINES[2][:-1], 15, "".join(LINES[:2])),
    ],
    ids=["after", "nothing", "all", "half a line", "no line end"],
)
def test_the_log_is_cut_after_the_last_checkpoint_and_before_half_a_line(tmp_path, text, last_step, expected):
    (tmp_path / "log.jsonl").write_text(text)
    cut_log(tmp_path / "log.jsonl", last_step)
    assert (tmp_path / "log.jsonl").read_text() == expected


def test_a_start_removes_only_the_leftovers_of_a_kill(tmp_path):
    for name in (".tmp-checkpoint-7", ".tmp-killed/best", "best", ".tmp-mine"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_folder(tmp_path / name, "x")
    (tmp_path / ".tmp-killed" / "lock").touch()
    write_folder(tmp_path / "checkpoint-5", "x")
    write_text(tmp_path / "checkpoint-5" / "state.json", json.dumps({"step": 5, "best_score": -float("inf")}))
    (tmp_path / "log.jsonl").write_text("".join(LINES))
    prepare_output(tmp_path, debug_arguments(tmp_path))
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"best", ".tmp-mine", "checkpoint-5", "log.jsonl", "arguments.json"}
    assert (tmp_path / "log.jsonl").read_text() == LINES[0]


def test_a_run_from_before_a_setting_existed_goes_on_with_its_default(tmp_path):
    arguments = debug_arguments(tmp_path, "max_steps=2", "save_steps=1", "log_steps=1")
    train(arguments)
    before = arguments.to_dict()
    del before["ema_decay"], before["objective"]
    (tmp_path / "arguments.json").write_text(json.dumps(before))
    shutil.rmtree(tmp_path / "checkpoint-2")
    train(arguments)
    assert list(read_log(tmp_path)) == [1, 2]


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_a_checkpoint_between_two_lines_of_the_log_keeps_the_losses_since_the_first(tmp_path, optimizer):
    """The resumed run draws the same dropout, averages the same weights and logs the same means."""
    settings = (
        *TINY_GALR,
        f"optimizer={optimizer}",
        "max_steps=6",
        "log_steps=3",
        "save_steps=2",
        "num_kept_checkpoints=3",
        "valid_steps=6",
    )
    train(debug_arguments(tmp_path / "unbroken", *settings))
    shutil.copytree(tmp_path / "unbroken" / "checkpoint-2", tmp_path / "resumed" / "checkpoint-2")
    train(debug_arguments(tmp_path / "resumed", *settings))
    assert without_times(tmp_path / "resumed") == without_times(tmp_path / "unbroken")
    for name in ("best", "last", "checkpoint-6"):
        weights = [(tmp_path / run / name / "model.safetensors").read_bytes() for run in ("unbroken", "resumed")]
        assert weights[0] == weights[1]


def share_buffers(model: torch.nn.Module) -> torch.nn.Module:
    """Make the weights of every LSTM views of one buffer, as cuDNN does."""
    for module in model.modules():
        if isinstance(module, torch.nn.LSTM):
            weights = list(module.parameters())
            buffer = torch.cat([weight.detach().flatten() for weight in weights])
            for weight, part in zip(weights, buffer.split([weight.numel() for weight in weights]), strict=True):
                weight.data = part.view_as(weight)
    return model


def test_weights_that_share_a_buffer_as_on_a_gpu_are_all_kept(tmp_path, monkeypatch):
    settings = (*TINY_GALR, "max_steps=4", "save_steps=2", "log_steps=1")
    plain, shared = tmp_path / "plain", tmp_path / "shared"
    train(debug_arguments(plain, *settings))
    build_model = loop.build_model
    monkeypatch.setattr(loop, "build_model", lambda *arguments: share_buffers(build_model(*arguments)))
    train(debug_arguments(shared, *settings))
    for folder in (shared / "checkpoint-4", shared / "last"):
        assert set(load_file(folder / "model.safetensors")) == set(load_file(plain / "last" / "model.safetensors"))
    shutil.rmtree(shared / "checkpoint-4")
    train(debug_arguments(shared, *settings))
    assert without_times(shared) == without_times(plain)


def test_weights_that_a_gradient_has_destroyed_take_no_checkpoint_s_place(tmp_path, monkeypatch):
    clip_grad_norm = Accelerator.clip_grad_norm_
    steps = []

    def spoil(accelerator: Accelerator, parameters: Iterator[torch.nn.Parameter], max_norm: float) -> torch.Tensor:
        parameters = list(parameters)
        steps.append(None)
        if len(steps) == 2:
            parameters[0].grad.fill_(torch.nan)
        return clip_grad_norm(accelerator, parameters, max_norm)

    monkeypatch.setattr(Accelerator, "clip_grad_norm_", spoil)
    with pytest.raises(FloatingPointError, match="gradient is nan at step 2: lower `learning_rate`"):
        train(debug_arguments(tmp_path, "max_steps=4", "save_steps=1", "num_kept_checkpoints=1"))
    assert list_checkpoints(tmp_path) == [tmp_path / "checkpoint-1"]


def test_other_validation_mixtures_begin_a_new_search_for_the_best_model(tmp_path):
    settings = ("max_steps=3", "save_steps=1", "valid_steps=1", "num_kept_checkpoints=3")
    best, other = tmp_path / "best" / "model.safetensors", "num_valid_mixtures=1"
    train(debug_arguments(tmp_path, *settings))
    best.write_bytes(b"of the first mixtures")
    # it has nothing left to do, or no time for it
    train(debug_arguments(tmp_path, *settings, other))
    assert best.read_bytes() == b"of the first mixtures"
    for folder in (tmp_path / "checkpoint-2", tmp_path / "checkpoint-3"):
        shutil.rmtree(folder)
    path = tmp_path / "checkpoint-1" / "state.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"best_score": 99.0, "num_stale_validations": 7}))
    train(debug_arguments(tmp_path, *settings, "valid_steps=3", "log_steps=1", "max_minutes=0", other))
    assert best.read_bytes() == b"of the first mixtures"
    # nor is it forgotten where the run stops again
    train(debug_arguments(tmp_path, *settings, other))
    assert best.read_bytes() != b"of the first mixtures"
    assert load_state(tmp_path / "checkpoint-3").best_score < 99


def without_times(folder: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "steps_per_second"} for line in lines]


def kill_when(arguments: TrainingArguments, moment: Callable[[], bool]) -> bool:
    """Whether a run was killed at the moment, rather than done before."""
    # forked from a server that has imported everything and run nothing: each start takes a fraction of a second
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["training.loop"])
    process = context.Process(target=train, args=(arguments,))
    process.start()
    while process.is_alive() and not moment():
        time.sleep(0.0002)
    if process.is_alive():
        os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_is_an_unbroken_one(tmp_path):
    settings = (*TINY_GALR, "max_steps=60", "log_steps=3", "save_steps=4", "valid_steps=30")
    unbroken, killed = (
        debug_arguments(tmp_path / "unbroken", *settings),
        debug_arguments(tmp_path / "killed", *settings),
    )
    folder = Path(killed.output_dir)
    assert not kill_when(unbroken, lambda: False)

    def is_saving(first_step: int) -> bool:
        return any(int(path.name.split("-")[2]) >= first_step for path in folder.glob(".tmp-checkpoint-*"))

    def has_lines(number: int) -> bool:
        path = folder / "log.jsonl"
        return path.exists() and path.read_bytes().count(b"\n") >= number

    rng = random.Random(72)
    # before the first checkpoint, while saving, while saving the best model, at any step
    assert kill_when(killed, lambda: has_lines(1))
    assert kill_when(killed, lambda: is_saving(8))
    killed_while_saving = any(folder.glob(".tmp-checkpoint-*"))
    assert kill_when(killed, lambda: any(folder.glob(".tmp-*/best")) or is_saving(32))
    for step in (36, 44):
        assert kill_when(killed, lambda step=step: is_saving(step))
        # else the folder got its name between the look and the kill
        killed_while_saving += any(folder.glob(".tmp-checkpoint-*"))
    assert killed_while_saving > 0
    lines = (folder / "log.jsonl").read_bytes().count(b"\n")
    assert kill_when(killed, lambda: has_lines(lines + rng.randint(1, 2)))
    assert not kill_when(killed, lambda: False)

    assert without_times(folder) == without_times(Path(unbroken.output_dir))
    assert [path.name for path in list_checkpoints(folder)] == ["checkpoint-56", "checkpoint-60"]
    for name in ("best", "last", "checkpoint-60"):
        weights = [(tmp_path / run / name / "model.safetensors").read_bytes() for run in ("unbroken", "killed")]
        assert weights[0] == weights[1]
    assert not list(folder.glob(".tmp-*"))
