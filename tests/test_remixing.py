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
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoFeatureExtractor, AutoModel

from tests.conftest import SAMPLES
from tests.test_checkpoints import TINY_GALR, without_times
from tests.training_helpers import DEBUG, debug_arguments, read_log
from training import remixing
from training.benchmark import gpu_step
from training.loop import train
from training.remixing import build_teacher, remix_recordings, shuffle_estimates
from training.settings import SettingsError


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory) -> Path:
    """A tiny GALR after two steps on voices."""
    arguments = debug_arguments(tmp_path_factory.mktemp("pretrained"), *TINY_GALR, "max_steps=2")
    arguments.valid = None
    return train(arguments)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    """A folder of recordings without folders for speakers."""
    folder = tmp_path_factory.mktemp("recordings")
    for path in (SAMPLES / "speech").rglob("*.*"):
        if path.suffix in (".flac", ".wav", ".opus"):
            shutil.copy(path, folder / f"{path.parent.name}-{path.name}")
    return folder


def remix_arguments(output_dir: Path, pretrained: Path, recordings: Path, *overrides: str):
    overrides = (f"model={{pretrained: {pretrained}}}", f"speech.0.root={recordings}", *overrides)
    arguments = debug_arguments(output_dir, "objective=remixit", "max_steps=4", "log_steps=1", *overrides)
    arguments.valid = None
    return arguments


@pytest.mark.parametrize("num_sources", [2, 3])
def test_each_new_mixture_has_estimates_of_different_recordings_and_each_estimate_is_used_once(num_sources):
    estimates = torch.arange(4 * num_sources, dtype=torch.float32).view(4, num_sources, 1)
    torch.manual_seed(0)
    drawn = [shuffle_estimates(estimates).squeeze(-1).long() for _ in range(20)]
    for shuffled in drawn:
        assert sorted(shuffled.flatten().tolist()) == list(range(4 * num_sources))
        owners = shuffled // num_sources
        assert all(len(set(row)) == num_sources for row in owners.tolist())
    # the order of the estimates of a recording is random
    assert len({tuple(shuffled.flatten().tolist()) for shuffled in drawn}) > 5


def test_new_mixtures_hold_all_of_the_recordings_and_the_teacher_separates_without_dropout(pretrained):
    teacher = AutoModel.from_pretrained(pretrained).train()
    feature_extractor = AutoFeatureExtractor.from_pretrained(pretrained)
    torch.manual_seed(0)
    audio = torch.randn(3, feature_extractor.chunk_length) * torch.tensor([[0.1], [1.0], [0.01]])
    before = {name: weight.clone() for name, weight in teacher.state_dict().items()}
    batch = remix_recordings(teacher, feature_extractor, audio)
    assert batch["references"].shape == (3, 2, feature_extractor.chunk_length)
    torch.testing.assert_close(batch["mixture"], batch["references"].sum(dim=1))
    # at the levels of the recordings
    torch.testing.assert_close(batch["mixture"].sum(dim=0), audio.sum(dim=0), atol=1e-5, rtol=1e-4)
    assert not batch["mixture"].requires_grad
    torch.manual_seed(0)
    torch.randn(3, feature_extractor.chunk_length)
    again = remix_recordings(teacher, feature_extractor, audio)
    assert torch.equal(again["references"], batch["references"])
    assert all(torch.equal(weight, before[name]) for name, weight in teacher.state_dict().items())


@pytest.mark.parametrize("average", [(), ("ema_decay=0.9",)], ids=["frozen teacher", "moving teacher"])
def test_a_run_by_remixing_resumes_without_a_difference(pretrained, recordings, tmp_path, average):
    settings = (*average, "save_steps=2", "log_steps=3")
    train(remix_arguments(tmp_path / "unbroken", pretrained, recordings, *settings))
    shutil.copytree(tmp_path / "unbroken" / "checkpoint-2", tmp_path / "resumed" / "checkpoint-2")
    train(remix_arguments(tmp_path / "resumed", pretrained, recordings, *settings))
    assert without_times(tmp_path / "resumed") == without_times(tmp_path / "unbroken")
    weights = [(tmp_path / run / "last" / "model.safetensors").read_bytes() for run in ("unbroken", "resumed")]
    assert weights[0] == weights[1]


def test_a_moving_teacher_gives_other_losses_than_a_frozen_one(pretrained, recordings, tmp_path):
    for name, overrides in (("frozen", ()), ("moving", ("ema_decay=0.1",))):
        train(remix_arguments(tmp_path / name, pretrained, recordings, *overrides, "warmup_steps=0", "max_steps=2"))
    frozen, moving = (list(read_log(tmp_path / name).values()) for name in ("frozen", "moving"))
    # both begin with the checkpoint as their teacher
    assert frozen[0] == moving[0] and frozen[-1] != moving[-1]


def test_a_teacher_needs_as_many_recordings_as_sources_in_a_part(pretrained, recordings, tmp_path):
    arguments = remix_arguments(tmp_path, pretrained, recordings, "gradient_accumulation_steps=4")
    with pytest.raises(SettingsError, match=r"2 different recordings.*has 1.*batch_size.*4"):
        build_teacher(AutoModel.from_pretrained(pretrained), None, arguments, num_processes=1)
    with pytest.raises(SettingsError, match=r"2 different recordings"):
        train(arguments)
    assert not (tmp_path / "log.jsonl").exists()


def test_speech_on_the_device_is_remixed_alike(pretrained, recordings, tmp_path):
    for name, on_device in (("memory", "false"), ("device", "true")):
        settings = (f"speech_on_device={on_device}", "max_steps=2")
        train(remix_arguments(tmp_path / name, pretrained, recordings, *settings))
    in_memory, on_device = (list(read_log(tmp_path / name).values()) for name in ("memory", "device"))
    assert on_device == pytest.approx(in_memory, rel=1e-4)


def test_a_step_by_remixing_is_measured_with_its_teacher(pretrained, recordings, monkeypatch):
    monkeypatch.setattr(gpu_step, "time_kernels", lambda take_step, device: gpu_step.Kernels(0.0, 0.0))
    monkeypatch.setattr(gpu_step, "measure_ceiling", lambda device, dtype: 1e12)
    calls = []
    original = remixing.remix_recordings
    monkeypatch.setattr(remixing, "remix_recordings", lambda *values: calls.append(1) or original(*values))
    parser = argparse.ArgumentParser()
    gpu_step.add_arguments(parser)
    overrides = ("objective=remixit", f"model={{pretrained: {pretrained}}}", f"speech=[{{root: {recordings}}}]")
    options = parser.parse_args([str(DEBUG), *overrides, "valid=null", "--steps", "2", "--warmup-steps", "0"])
    assert gpu_step.run(options)["steps_per_s"] > 0
    assert len(calls) == 2


def test_loose_files_are_recordings_but_not_speakers(pretrained, recordings, tmp_path):
    with pytest.raises(SettingsError, match="is directly in"):
        train(remix_arguments(tmp_path, pretrained, recordings, "objective=matched"))
