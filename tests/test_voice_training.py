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

from audioslots_hf import VoiceEncoderModel
from audioslots_hf.modeling_outputs import AudioSeparationOutput
from audioslots_hf.voice_encoders import load_voice_encoder
from tests.conftest import SAMPLES
from tests.test_voice_encoder import TINY
from training.settings import SettingsError, load_settings
from training.train_voice_encoder import main
from training.voice.augmentation import active_frames, augment, band_limit, scale_to, separate, separate_by
from training.voice.crops import Voice, VoiceCrops
from training.voice.export import export
from training.voice.loop import learning_rate, train
from training.voice.loss import AngularMarginLoss
from training.voice.settings import VoiceAugmentations, VoiceFolder, VoiceTrainingArguments
from training.voice.verification import Trials, cut_trials, equal_error_rate


ROOT = Path(__file__).parents[1]
ALL = VoiceAugmentations(
    speeds=[0.9, 1.0, 1.1],
    tilt_db=6.0,
    narrow_share=0.5,
    high_pass_share=0.5,
    separated_share=0.5,
    leak_share=0.5,
    noise_share=0.5,
    gap_share=0.5,
)


def draw_voices(num_voices: int = 3, num_samples: int = 40000) -> list[Voice]:
    """Voices of one constant each, in two recordings"""
    return [
        Voice(str(index), [np.full(num_samples, 1000 * (index + 1), np.int16) for _ in range(2)])
        for index in range(num_voices)
    ]


def tiny_arguments(output_dir: Path, **overrides) -> VoiceTrainingArguments:
    arguments = VoiceTrainingArguments(
        output_dir=str(output_dir),
        speech=[VoiceFolder(str(SAMPLES / "speech"))],
        valid=[VoiceFolder(str(SAMPLES / "speech"))],
        model=TINY,
        augmentations=ALL,
        duration_s=[0.5, 0.75],
        max_steps=4,
        batch_size=4,
        log_steps=1,
        valid_steps=2,
        save_steps=2,
    )
    return replace(arguments, **overrides)


def test_a_crop_comes_from_the_voice_of_its_label():
    crops = VoiceCrops([draw_voices()], [1.0], [1.0], 16000).draw(np.random.default_rng(0), 8, 16000)
    expected = (crops.labels + 1) * 1000 / 32768
    torch.testing.assert_close(crops.waveforms, expected.float()[:, None].expand(8, 16000))


def test_a_voice_at_another_speed_is_another_class():
    tone = (8000 * np.sin(2 * np.pi * 1000 * np.arange(64000) / 16000)).astype(np.int16)
    drawer = VoiceCrops([[Voice("a", [tone])]], [1.0], [0.5, 1.0], 16000)
    assert drawer.num_classes == 2
    crops = drawer.draw(np.random.default_rng(0), 16, 16000)
    peaks_hz = torch.fft.rfft(crops.waveforms).abs().argmax(dim=1)
    assert set(crops.labels.tolist()) == {0, 1}
    assert peaks_hz.tolist() == [500 if label == 0 else 1000 for label in crops.labels.tolist()]


def test_a_folder_of_more_weight_is_drawn_more_often():
    folders = [draw_voices(1), draw_voices(3)]
    labels = VoiceCrops(folders, [3.0, 1.0], [1.0], 16000).draw(np.random.default_rng(0), 400, 100).labels
    # of a deviation of 9
    assert 260 < (labels == 0).sum() < 340


def test_augmentations_are_finite_and_a_function_of_the_seed():
    voices = torch.randn(16, 8000, generator=torch.Generator().manual_seed(0))
    changed = [augment(voices.clone(), ALL, np.random.default_rng(3), 16000) for _ in range(2)]
    assert torch.equal(*changed) and torch.isfinite(changed[0]).all()
    assert ((changed[0] - voices).square().mean(dim=1) > 1e-6).all()
    assert torch.isfinite(augment(torch.zeros(4, 8000), ALL, np.random.default_rng(3), 16000)).all()


def test_no_augmentation_changes_nothing():
    voices = torch.randn(4, 8000, generator=torch.Generator().manual_seed(0))
    changed = augment(voices.clone(), VoiceAugmentations(), np.random.default_rng(0), 16000)
    torch.testing.assert_close(changed, voices, rtol=0, atol=1e-4)


def test_a_telephone_passes_1_khz_and_neither_50_hz_nor_6_khz():
    times = torch.arange(16000) / 16000
    tones = torch.stack([torch.sin(2 * np.pi * hz * times) for hz in (50.0, 1000.0, 6000.0)])
    passed = band_limit(tones, torch.full((3,), 300.0), torch.full((3,), 3400.0), 16000).square().mean(dim=1) * 2
    assert passed[0] < 1e-3 and abs(passed[1] - 1) < 0.01 and passed[2] < 1e-3


def test_a_separated_voice_is_nearer_to_its_voice_than_the_mixture():
    times = torch.arange(16000) / 16000
    voices, others = torch.sin(2 * np.pi * 300 * times)[None], torch.sin(2 * np.pi * 2000 * times)[None]
    estimates = separate(voices, others)
    assert estimates.shape == voices.shape
    assert (estimates - voices).square().mean() < 0.05 * others.square().mean()


def test_levels_are_relative_to_the_target():
    targets, waveforms = torch.full((2, 100), 0.5), torch.full((2, 100), 3.0)
    scaled = scale_to(waveforms, targets, torch.tensor([0.0, -20.0]))
    torch.testing.assert_close(scaled.mean(dim=1), torch.tensor([0.5, 0.05]))


def test_active_frames_are_those_that_sound():
    voices = torch.zeros(1, 3200)
    voices[:, 1600:] = 0.1
    activity = active_frames(voices, 320)
    assert activity.shape == (1, 11) and activity[0, :5].sum() == 0 and activity[0, 6:].sum() == 5


def test_the_margin_makes_the_own_class_harder():
    loss = AngularMarginLoss(2, 2, scale=1.0)
    loss.weight.data = torch.eye(2)
    embeddings, labels = torch.tensor([[1.0, 0.0]]), torch.tensor([0])
    without, accuracy = loss(embeddings, labels, 0.0)
    assert accuracy == 1
    torch.testing.assert_close(without, torch.tensor(1 + np.exp(-1.0)).log().float())
    torch.testing.assert_close(
        loss(embeddings, labels, 0.2)[0], torch.tensor(1 + np.exp(-np.cos(0.2))).log().float(), rtol=0, atol=1e-3
    )


def test_the_equal_error_rate_has_its_known_values():
    assert equal_error_rate(np.array([0.9, 0.8, 0.2, 0.1]), np.array([1, 1, 0, 0])) == 0
    assert equal_error_rate(np.array([0.1, 0.2, 0.8, 0.9]), np.array([1, 1, 0, 0])) == 1
    assert equal_error_rate(np.array([0.9, 0.3, 0.5, 0.1]), np.array([1, 1, 0, 0])) == 0.5
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.normal(1, 1, 20000), rng.normal(-1, 1, 20000)])
    # the normal distribution at one deviation
    assert abs(equal_error_rate(scores, np.arange(40000) < 20000) - 0.1587) < 0.005


def test_pairs_of_one_recording_are_left_out_where_there_are_others():
    trials = Trials(np.zeros((5, 1)), np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 0, 0]))
    # ten pairs, without the first two of voice 0; voice 1 has one recording
    assert trials.num_pairs == 9 and trials.is_same.sum() == 3


def test_trials_do_not_overlap_and_need_two_voices():
    trials = cut_trials(draw_voices(2, 40000), 16000, 3)
    assert trials.crops.shape == (6, 16000) and trials.speakers.tolist() == [0, 0, 0, 1, 1, 1]
    with pytest.raises(SettingsError, match="no pair of two"):
        cut_trials(draw_voices(1), 16000)


def test_a_run_that_is_resumed_learns_the_same_and_writes_a_model(tmp_path):
    whole = train(tiny_arguments(tmp_path / "whole"))
    train(tiny_arguments(tmp_path / "parts", max_steps=2))
    log = (tmp_path / "parts" / "log.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["step"] for line in log] == [1, 2] and "equal_error_rates" in json.loads(log[1])
    # the schedule is a function of the share of the steps, so that a resumed run may end elsewhere
    resumed = train(tiny_arguments(tmp_path / "parts", max_steps=4))
    log = (tmp_path / "parts" / "log.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["step"] for line in log] == [1, 2, 3, 4]
    assert isinstance(VoiceEncoderModel.from_pretrained(resumed), VoiceEncoderModel)
    again = train(tiny_arguments(tmp_path / "again"))
    first, second = (load_file(folder / "model.safetensors") for folder in (whole, again))
    assert all(torch.equal(first[name], second[name]) for name in first)


def train_until_killed(arguments: VoiceTrainingArguments, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train, and stop as by Ctrl-C in the fourth step"""

    def stop(step, settings):
        if step == 3:
            raise KeyboardInterrupt
        return learning_rate(step, settings)

    with monkeypatch.context() as patch:
        patch.setattr("training.voice.loop.learning_rate", stop)
        with pytest.raises(KeyboardInterrupt):
            train(arguments)


def test_a_killed_run_ends_with_the_weights_of_one_that_was_not(tmp_path, monkeypatch):
    whole = train(tiny_arguments(tmp_path / "whole"))
    arguments = tiny_arguments(tmp_path / "killed", save_steps=2)

    train_until_killed(arguments, monkeypatch)
    resumed = train(arguments)
    first, second = (load_file(folder / "model.safetensors") for folder in (whole, resumed))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_learning_rate_rises_then_falls_to_zero():
    arguments = tiny_arguments(Path("unused"), max_steps=100, learning_rate=1.0)
    rates = [learning_rate(step, arguments) for step in range(100)]
    assert max(rates) > 0.99 and rates[0] < 0.25 and rates[-1] < 1e-3
    assert all(before >= after for before, after in zip(rates[6:], rates[7:], strict=False))


def test_a_model_separates_the_share_of_the_crops_that_no_mask_has_separated():
    voices = torch.randn(400, 800, generator=torch.Generator().manual_seed(0))
    heard = []

    def separator(mixtures):
        torch.testing.assert_close(mixtures.square().mean(dim=1), torch.ones(len(mixtures)))
        heard.append(len(mixtures))
        # the second estimate is the mixture itself
        return AudioSeparationOutput(estimates=torch.stack([torch.randn_like(mixtures), mixtures], dim=1))

    settings = VoiceAugmentations(separated_share=0.5, separator_share=0.25)
    changed = augment(voices.clone(), settings, np.random.default_rng(0), 16000, separator)
    # of a deviation of 9
    assert 73 < heard[0] < 127
    unchanged = ((changed - voices).square().mean(dim=1) < 1e-6).sum()
    assert 73 < unchanged < 127
    with pytest.raises(SettingsError, match="at most 1 together"):
        tiny_arguments(Path("unused"), augmentations=replace(settings, separator_share=0.6))


def test_the_estimate_that_is_most_like_the_voice_is_taken_at_its_level():
    voices, others = (0.01 * torch.randn(3, 800, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    levels = (voices + others).square().mean(dim=1, keepdim=True).sqrt()
    output = AudioSeparationOutput(estimates=torch.stack([others / levels, voices / levels], dim=1))
    torch.testing.assert_close(separate_by(lambda mixtures: output, voices, others), voices)


def test_a_line_of_the_log_has_the_mean_of_its_steps_also_where_the_run_ends_before_its_last_one(tmp_path):
    logs = []
    for log_steps in (1, 2):
        folder = train(tiny_arguments(tmp_path / str(log_steps), max_steps=3, valid=[], log_steps=log_steps)).parent
        logs.append([json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text("utf-8").splitlines()])
    first, second, third = logs[0]
    assert logs[1] == pytest.approx([(first + second) / 2, third])


@pytest.mark.parametrize("duration_s", [[0.0, 1.0], [0.1, 1.0], [0.5, 1.1]])
def test_a_length_that_no_crop_can_have_is_refused(duration_s):
    with pytest.raises(SettingsError, match=r"`duration_s` .* must hold positive multiples of 0.25 s"):
        tiny_arguments(Path("unused"), duration_s=duration_s)


def test_the_shipped_settings_can_be_read():
    arguments = load_settings(VoiceTrainingArguments, ROOT / "training" / "voice" / "small.yaml", [])
    assert len(arguments.speech) == 4 and arguments.augmentations.narrow_share > 0


def test_the_command_names_a_folder_that_does_not_exist(tmp_path, capsys):
    config = str(ROOT / "training" / "voice" / "small.yaml")
    with pytest.raises(SystemExit):
        main([config, f"output_dir={tmp_path}", "speech.0.root=nowhere"])
    assert "`speech.0.root` names nowhere, which does not exist" in capsys.readouterr().err


def test_an_exported_encoder_is_half_as_large_and_computes_in_float32(tmp_path):
    source, target = train(tiny_arguments(tmp_path / "run", max_steps=1)), tmp_path / "exported"
    export([source], target)
    assert sorted(path.name for path in target.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert {value.dtype for value in load_file(target / "model.safetensors").values()} <= {torch.float16, torch.int64}
    loaded = load_voice_encoder(target)
    assert loaded.dtype == torch.float32 and not loaded.training


def test_an_encoder_that_half_precision_breaks_is_not_exported(tmp_path):
    source = train(tiny_arguments(tmp_path / "run", max_steps=1))
    model = VoiceEncoderModel.from_pretrained(source)
    model.embedding.weight.data *= 1e6
    model.save_pretrained(source)
    with pytest.raises(ValueError, match="half precision"):
        export([source], tmp_path / "exported")
    assert not (tmp_path / "exported").exists()


def test_a_run_may_start_from_a_model_with_other_classes(tmp_path):
    first = train(tiny_arguments(tmp_path / "first", max_steps=1))
    augmentations = replace(ALL, speeds=[1.0])
    arguments = tiny_arguments(tmp_path / "second", model={}, pretrained=str(first), augmentations=augmentations)
    before, after = load_file(first / "model.safetensors"), load_file(train(arguments) / "model.safetensors")
    name = "front_end.conv1.weight"
    assert before[name].shape == after[name].shape and not torch.equal(before[name], after[name])
    # a few steps at the start of a warm-up
    assert (before[name] - after[name]).abs().max() < 0.1
    with pytest.raises(SettingsError, match="`model`"):
        replace(arguments, model=TINY)
    with pytest.raises(SettingsError, match="`pretrained` names nowhere"):
        replace(arguments, pretrained="nowhere").check_paths()
