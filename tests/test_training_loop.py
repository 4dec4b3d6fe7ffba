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
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel

from audioslots_hf import GalrConfig, SlotGalrConfig, SlotGalrForAudioSeparation, WaveformFeatureExtractor
from audioslots_hf.metrics import order_estimates, si_snr
from tests.test_checkpoints import TINY_GALR, without_times
from tests.training_helpers import CONFIGS, debug_arguments, read_log
from training import loop, run
from training.loop import compute_loss, train
from training.run import seed_draws


TINY_SLOT_GALR = (
    "model={model_type: slot_galr, chunk_length: 4000, hidden_size: 16, head_dim: 8, num_attention_heads: 2,"
    " map_hidden_size: 8, map_intermediate_size: 8, map_num_attention_heads: 2, num_map_layers: 1, num_source_layers: 1}"
)


def losses_of(folder: Path, *overrides: str) -> list[float]:
    arguments = debug_arguments(folder, "max_steps=5", "log_steps=1", *overrides)
    arguments.valid = None
    train(arguments)
    return list(read_log(folder).values())


@pytest.fixture(scope="module")
def plain_losses(tmp_path_factory) -> list[float]:
    return losses_of(tmp_path_factory.mktemp("plain"), "seed=73")


@pytest.mark.parametrize("parts", [2, 4])
def test_a_batch_in_parts_gives_the_losses_of_a_whole_one(plain_losses, tmp_path, parts):
    # with a few seeds, 1 and 72 among them, Adam follows the sign of gradients near zero, which is that of their rounding
    losses = losses_of(tmp_path, "seed=73", f"gradient_accumulation_steps={parts}")
    # float32 sums in another order: measured 2e-7 after these steps
    np.testing.assert_allclose(losses, plain_losses, rtol=1e-5)
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-5"]


@pytest.mark.parametrize("parts", [1, 2])
def test_speech_on_the_device_gives_the_losses_of_speech_in_memory(tmp_path, parts):
    # both sources have the same samples where there is no noise
    settings = (f"gradient_accumulation_steps={parts}",)
    expected = losses_of(tmp_path / "memory", *settings)
    settings += ("speech_on_device=true",)
    # and a run that goes on does so with the right examples
    assert len(losses_of(tmp_path / "device", *settings, "max_minutes=0")) == 1
    assert losses_of(tmp_path / "device", *settings) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("model", [(), TINY_GALR], ids=["audioslots", "galr"])
def test_gradient_checkpointing_gives_equal_losses(tmp_path, model):
    plain = losses_of(tmp_path / "plain", *model)
    losses = losses_of(tmp_path / "checkpointed", *model, "gradient_checkpointing=true")
    assert losses == plain


def test_the_average_of_the_weights_is_saved(tmp_path):
    losses_of(tmp_path, "max_steps=3", "save_steps=1", "num_kept_checkpoints=3", "ema_decay=0.75")
    weights = [load_file(tmp_path / f"checkpoint-{step}" / "model.safetensors") for step in (1, 2, 3)]
    for name in ("best", "last"):
        for key, average in load_file(tmp_path / name / "model.safetensors").items():
            first, second, third = (step[key] for step in weights)
            expected = 0.75 * (0.75 * first + 0.25 * second) + 0.25 * third
            torch.testing.assert_close(average, expected, atol=1e-6, rtol=1e-5)


@pytest.fixture
def scores(monkeypatch) -> None:
    """Validation scores in place of those of the model: those of step 1, 2, 3 ..."""
    script = dict(enumerate((1.0, 3.0, 2.0, 3.0, 1.0, 9.0), start=1))
    monkeypatch.setattr(run, "evaluate_mixtures", lambda *arguments: [])
    original = run.Run.validate

    def validate(self: run.Run) -> None:
        score = script[self.state.step]
        monkeypatch.setattr(run, "summarize", lambda results: {"si_snr": score, "si_snri": score})
        original(self)

    monkeypatch.setattr(run.Run, "validate", validate)


@pytest.mark.usefixtures("scores")
def test_the_speed_is_that_of_the_steps_alone(tmp_path, monkeypatch):
    clock, update_weights = [0.0], loop.update_weights

    def spend(seconds: float) -> None:
        clock[0] += seconds

    for module in (loop, run):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(loop, "update_weights", lambda *arguments: (spend(0.5), update_weights(*arguments)))
    monkeypatch.setattr(run, "evaluate_mixtures", lambda *arguments: spend(100))
    train(debug_arguments(tmp_path, "max_steps=6", "valid_steps=2", "log_steps=3"))
    assert read_log(tmp_path, "steps_per_second") == {3: 2, 6: 2}


@pytest.mark.usefixtures("scores")
def test_a_run_without_patience_left_stops_early_with_its_best_model(tmp_path):
    settings = ("max_steps=6", "valid_steps=1", "save_steps=1", "log_steps=1", "num_kept_checkpoints=9", "patience=2")
    train(debug_arguments(tmp_path, *settings))
    # steps 3 and 4 were no better than step 2: equal is not better
    assert list(read_log(tmp_path, "valid_si_snri")) == [1, 2, 3, 4]
    files = [tmp_path / folder / "model.safetensors" for folder in ("best", "checkpoint-2", "last", "checkpoint-4")]
    best, second, last, fourth = (path.read_bytes() for path in files)
    assert best == second and last == fourth and best != last

    resumed = tmp_path / "resumed"
    resumed.mkdir()
    (tmp_path / "checkpoint-3").rename(resumed / "checkpoint-3")
    train(debug_arguments(resumed, *settings))
    assert list(read_log(resumed, "valid_si_snri")) == [4]
    # started again, it has nothing left to do, unless it is given more patience
    before = without_times(tmp_path)
    train(debug_arguments(tmp_path, *settings))
    assert without_times(tmp_path) == before
    train(debug_arguments(tmp_path, *settings[:-1]))
    assert list(read_log(tmp_path, "valid_si_snri")) == [1, 2, 3, 4, 5, 6]


def test_a_run_that_validates_first_prints_the_score_before_and_after(tmp_path, capsys):
    settings = ("validate_first=true", "max_steps=4", "valid_steps=4", "save_steps=2", "log_steps=1")
    train(debug_arguments(tmp_path / "run", *settings))
    scores = read_log(tmp_path / "run", "valid_si_snri")
    assert list(scores) == [0, 4] and scores[0] != scores[4]
    comparison = f"SI-SNRi on 2 validation mixtures: {scores[0]:.2f} dB before, {scores[4]:.2f} dB after 4 steps; "
    comparison += f"best/ holds the model with {max(scores.values()):.2f} dB."
    assert comparison in capsys.readouterr().out
    # the steps are those of a run that does not
    train(debug_arguments(tmp_path / "plain", *settings, "validate_first=false"))
    assert read_log(tmp_path / "run") == read_log(tmp_path / "plain")
    # a resumed run knows the score of its beginning
    resumed = tmp_path / "resumed"
    resumed.mkdir()
    (tmp_path / "run" / "checkpoint-2").rename(resumed / "checkpoint-2")
    train(debug_arguments(resumed, *settings))
    assert comparison in capsys.readouterr().out
    assert list(read_log(resumed, "valid_si_snri")) == [4]


def test_a_run_that_validates_first_is_measured_where_its_time_is_up_too(tmp_path, capsys):
    train(debug_arguments(tmp_path, "validate_first=true", "max_minutes=0", "log_steps=1"))
    assert list(read_log(tmp_path, "valid_si_snri")) == [0, 1]
    assert "dB after 1 steps" in capsys.readouterr().out


def test_draws_in_a_part_depend_only_on_seed_and_first_example():
    draws = []
    for seed, index in ((72, 0), (72, 8), (73, 0), (72, 0)):
        seed_draws(seed, index)
        draws.append(torch.rand(4))
    assert torch.equal(draws[0], draws[3])
    assert not torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])


@pytest.mark.parametrize("model", [TINY_GALR[0], TINY_SLOT_GALR], ids=["galr", "slot_galr"])
def test_mixtures_of_mixtures_train_by_a_yaml(tmp_path, model):
    mixit = ("objective=mixit", model.replace("{", "{num_sources: 4, "))
    losses = losses_of(tmp_path, *mixit)
    assert len(losses) == 5 and all(-30 < loss < 10 for loss in losses)
    assert AutoModel.from_pretrained(tmp_path / "best").config.num_sources == 4


def test_mixtures_of_mixtures_train_every_weight_of_slots_with_an_activity():
    torch.manual_seed(0)
    model = SlotGalrForAudioSeparation(SLOT_GALR_OF_NOISES)
    feature_extractor = WaveformFeatureExtractor.from_config(model.config)
    noises = band_noises(2, 800, torch.Generator().manual_seed(0))
    recordings = torch.stack([noises[:, :2].sum(dim=1), noises[:, 2:].sum(dim=1)], dim=1)
    batch = {"mixture": recordings.sum(dim=1), "references": recordings}
    compute_loss(model, feature_extractor, batch, "mixit", model.config.activity_loss_weight).backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())


def band_noises(num_examples: int, num_samples: int, generator: torch.Generator) -> torch.Tensor:
    """Four noises in bands that do not touch, at unit level: (num_examples, 4, num_samples)"""
    spectra = torch.randn(num_examples, 4, num_samples // 2 + 1, dtype=torch.complex64, generator=generator)
    edges = torch.tensor([0.02, 0.2, 0.27, 0.45, 0.52, 0.7, 0.77, 0.95]) * (num_samples // 2)
    bins = torch.arange(num_samples // 2 + 1)
    passed = (bins >= edges[0::2, None]) & (bins < edges[1::2, None])
    noises = torch.fft.irfft(spectra * passed, num_samples)
    return noises / noises.square().mean(dim=-1, keepdim=True).sqrt()


GALR_OF_NOISES = GalrConfig(
    sampling_rate=8000,
    chunk_length=800,
    num_sources=4,
    hidden_size=64,
    encoder_kernel_size=32,
    segment_length=10,
    lstm_hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    filterbank_init="fourier",
    dropout=0.0,
)
SLOT_GALR_OF_NOISES = SlotGalrConfig(
    sampling_rate=8000,
    chunk_length=800,
    num_slots=4,
    n_fft=64,
    hop_length=16,
    band_widths=(2,),
    num_bands_per_width=(16,),
    hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    head_dim=8,
    intermediate_size=16,
    map_hidden_size=16,
    map_intermediate_size=16,
    map_num_attention_heads=2,
    num_map_layers=1,
    num_source_layers=1,
)


def divide_in_pairs(noises: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Two recordings of two noises each, the same pairs for a batch: (batch_size, 4, num_samples) -> (batch_size, 2, num_samples)"""
    noises = noises[:, torch.randperm(4, generator=generator)]
    return torch.stack([noises[:, 0] + noises[:, 1], noises[:, 2] + noises[:, 3]], dim=1)


def divide_at_random(noises: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Two recordings of no noise to four: (batch_size, 4, num_samples) -> (batch_size, 2, num_samples)"""
    is_first = torch.rand(len(noises), 4, 1, generator=generator) < 0.5
    return torch.stack([(noises * is_first).sum(dim=1), (noises * ~is_first).sum(dim=1)], dim=1)


def separate_noises(
    config: GalrConfig | SlotGalrConfig, divide: Callable[[torch.Tensor, torch.Generator], torch.Tensor]
) -> torch.Tensor:
    """Train on recordings of noises by their mixtures alone -> the SI-SNR of the estimate of each noise in dB, (4,)"""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    model, feature_extractor = AutoModel.from_config(config), WaveformFeatureExtractor.from_config(config)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(300):
        recordings = divide(band_noises(8, config.chunk_length, generator), generator)
        batch = {"mixture": recordings.sum(dim=1), "references": recordings}
        compute_loss(model, feature_extractor, batch, "mixit", config.activity_loss_weight).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        optimizer.zero_grad()
    noises = band_noises(16, config.chunk_length, generator)
    features = feature_extractor(noises.sum(dim=1), sampling_rate=8000)
    with torch.no_grad():
        estimates = feature_extractor.post_process_audio_separation(model.eval()(**features), features)
    mixed = si_snr(noises.sum(dim=1, keepdim=True), noises).mean(dim=0)
    # three other noises of the same level: -10 log10(3)
    torch.testing.assert_close(mixed, torch.full_like(mixed, -4.77), atol=0.1, rtol=0)
    return si_snr(order_estimates(estimates, noises), noises).mean(dim=0)


@pytest.mark.slow
def test_sources_come_apart_that_were_never_heard_alone():
    """Each recording is the sum of two of four noises, another two each time: only the four alone explain them all."""
    # measured 24 to 26 dB
    assert separate_noises(GALR_OF_NOISES, divide_in_pairs).amin() > 15


@pytest.mark.slow
def test_slots_come_apart_by_recordings_of_any_number_of_sources():
    """By pairs alone they would not: half of the sum of all noises less one of them is a solution too, for masks below zero."""
    assert separate_noises(SLOT_GALR_OF_NOISES, divide_at_random).amin() > 15


def launch(folder: Path, num_processes: int, *overrides: str) -> list[float]:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(num_processes), "--standalone"]
    command += ["training/run_training.py", "training/configs/debug.yaml", f"output_dir={folder}", *overrides]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    root = CONFIGS.parents[1]
    process = subprocess.run(command, capture_output=True, text=True, cwd=root, env=environment, check=False)
    assert process.returncode == 0, process.stderr
    return list(read_log(folder).values())


@pytest.mark.slow
def test_two_processes_draw_and_learn_the_same_as_one_in_parts(tmp_path):
    """Dropout, the average, validation, early stop and resuming included: four examples as 2 x 2 in either way."""
    settings = (*TINY_GALR, "max_steps=12", "log_steps=2", "save_steps=5", "valid_steps=4", "patience=9")
    train(debug_arguments(tmp_path / "one", *settings, "gradient_accumulation_steps=2"))
    one = list(read_log(tmp_path / "one").values())
    two = launch(tmp_path / "two", 2, *settings)
    # float32 sums in another order: measured 2e-7, also where a loss is near zero
    np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-5)
    # the weights of two processes are loaded by one
    AutoModel.from_pretrained(tmp_path / "two" / "checkpoint-12")
    (tmp_path / "three").mkdir()
    (tmp_path / "two" / "checkpoint-10").rename(tmp_path / "three" / "checkpoint-10")
    train(debug_arguments(tmp_path / "three", *settings, "gradient_accumulation_steps=2"))
    np.testing.assert_allclose(list(read_log(tmp_path / "three").values()), one[-1:], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("model", [TINY_GALR, ()], ids=["galr", "audioslots"])
def test_a_compiled_run_learns_the_same_and_saves_plain_names(tmp_path, model):
    settings = (*model, "model.dropout=0.0") if model else ()
    plain = losses_of(tmp_path / "plain", *settings)
    losses = losses_of(tmp_path / "compiled", *settings, "compile=true")
    np.testing.assert_allclose(losses, plain, rtol=1e-3)
    for folder in ("best", "last", "checkpoint-5"):
        names = [set(load_file(tmp_path / run / folder / "model.safetensors")) for run in ("plain", "compiled")]
        assert names[0] == names[1]
