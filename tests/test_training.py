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
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from accelerate.utils import set_seed
from transformers import AutoFeatureExtractor, AutoModel, pipeline

from audioslots_hf import DprnnConfig, GalrConfig
from audioslots_hf.shipped import DEFAULT_CHECKPOINT
from tests.audio_helpers import noise
from tests.conftest import SAMPLES, TINY_DUAL_PATH
from tests.training_helpers import CONFIGS, DEBUG, debug_arguments, read_log
from training import run_training
from training.arguments import load_arguments
from training.loop import cut_chunks, train
from training.model import build_config, build_model
from training.settings import SettingsError


@pytest.fixture(scope="module")
def debug_run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("debug")
    train(debug_arguments(folder))
    return folder


def test_the_loss_falls_and_every_parameter_moves(debug_run):
    losses = list(read_log(debug_run).values())
    assert np.mean(losses[-3:]) < 0.7 * losses[0]
    torch.manual_seed(72)
    fresh = AutoModel.from_config(build_config(load_arguments(DEBUG, []).model))
    trained = AutoModel.from_pretrained(debug_run / "last")
    parameters = dict(trained.named_parameters())
    still = [name for name, value in fresh.named_parameters() if torch.equal(value, parameters[name])]
    assert still == []


def test_a_run_writes_a_model_checkpoints_log_and_curves(debug_run):
    assert list(read_log(debug_run, "valid_si_snri")) == [60]
    assert sorted(path.name for path in debug_run.glob("checkpoint-*")) == ["checkpoint-40", "checkpoint-60"]
    assert list(debug_run.glob("**/events.out.tfevents.*"))
    # a checkpoint loads where the best model does, also without this package
    code, checkpoint_code = (
        {path.name for path in (debug_run / name).glob("*.py")} for name in ("best", "checkpoint-60")
    )
    assert code == checkpoint_code and "modeling_audioslots.py" in code
    configs = [json.loads((debug_run / name / "config.json").read_text()) for name in ("best", "checkpoint-60")]
    for key in ("auto_map", "custom_pipelines", "architectures"):
        assert configs[0][key] == configs[1][key]
    for name in ("best", "last", "checkpoint-60"):
        tracks = pipeline(
            "audio-to-audio", model=str(debug_run / name), trust_remote_code=True, device="cpu", num_speakers="outputs"
        )(noise(4001))
        assert [track["audio"].shape for track in tracks] == [(4001,), (4001,)]
        assert AutoFeatureExtractor.from_pretrained(debug_run / name).chunk_length == 4000
    assert not list(debug_run.glob(".tmp-*"))


def test_a_run_begins_with_the_weights_of_a_checkpoint(debug_run, tmp_path):
    arguments = debug_arguments(tmp_path, f"model={{pretrained: {debug_run / 'last'}, compression_exponent: 0.5}}")
    config = build_config(arguments.model)
    begun_as = AutoModel.from_pretrained(debug_run / "last").config
    assert [config.hidden_size, config.chunk_length] == [begun_as.hidden_size, begun_as.chunk_length]
    assert config.compression_exponent == 0.5
    arguments.max_steps, arguments.learning_rate = 1, 1e-12
    train(arguments)
    begun, ended = (AutoModel.from_pretrained(folder / "last").state_dict() for folder in (debug_run, tmp_path))
    assert begun.keys() == ended.keys()
    for name, value in begun.items():
        torch.testing.assert_close(ended[name], value, atol=1e-9, rtol=0)


def test_a_run_keeps_the_masks_of_a_checkpoint(debug_run, tmp_path):
    folder = shutil.copytree(debug_run / "last", tmp_path / "softer")
    feature_extractor = AutoFeatureExtractor.from_pretrained(folder)
    feature_extractor.mask_exponent = 0.5
    feature_extractor.save_pretrained(folder)
    arguments = debug_arguments(tmp_path / "run", f"model={{pretrained: {folder}}}", "max_steps=1")
    train(arguments)
    assert AutoFeatureExtractor.from_pretrained(tmp_path / "run" / "best").mask_exponent == 0.5


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"pretrained": "no/such/model"}, r"`model.pretrained` \(no/such/model\) .* neither a shipped checkpoint"),
        ({"pretrained": DEFAULT_CHECKPOINT, "model_type": "dprnn"}, "`model.model_type` differs from that .*, galr"),
        ({"pretrained": DEFAULT_CHECKPOINT, "num_layers": 2}, "Unknown key `model.num_layers`"),
        ({"pretrained": DEFAULT_CHECKPOINT, "return_dict": False}, "Unknown key `model.return_dict`"),
        ({"pretrained": DEFAULT_CHECKPOINT, "lstm_hidden_size": 32}, "change no sizes under `model`"),
        ({"pretrained": DEFAULT_CHECKPOINT, "num_hidden_layers": 2}, "change no sizes under `model`"),
    ],
)
def test_a_checkpoint_that_cannot_be_trained_on_is_an_error(values, message, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    arguments = debug_arguments(tmp_path)
    arguments.model = values
    with pytest.raises(SettingsError, match=message):
        build_model(build_config(values), arguments)


@pytest.mark.parametrize("config_class", [DprnnConfig, GalrConfig])
def test_layers_added_to_a_checkpoint_change_nothing_until_they_learn(config_class, tmp_path):
    config = config_class(**TINY_DUAL_PATH | {"num_hidden_layers": 1, "hidden_size": 16, "chunk_length": 4000})
    small = AutoModel.from_config(config).eval()
    small.save_pretrained(tmp_path / "small")
    arguments = debug_arguments(tmp_path / "run")
    arguments.model = {"pretrained": str(tmp_path / "small"), "num_hidden_layers": 3}
    large = build_model(build_config(arguments.model), arguments).eval()
    assert len(large.model.layers) == 3
    references = torch.randn(2, 2, small.config.chunk_length)
    mixtures = references.sum(1)
    torch.testing.assert_close(large(mixtures).estimates, small(mixtures).estimates, atol=0, rtol=0)

    # some biases have no gradient: the softmax and the layer norm after them cancel their contribution
    added = {name: value for name, value in large.model.layers[1:].named_parameters() if value.ndim > 1}
    before = {name: value.detach().clone() for name, value in added.items()}
    optimizer = torch.optim.SGD(large.parameters(), lr=0.1)
    # the first step changes the last weights of the new layers, the second the weights before them
    for _ in range(2):
        optimizer.zero_grad()
        large(mixtures, labels=references).loss.backward()
        optimizer.step()
    assert [name for name, value in added.items() if torch.equal(value, before[name])] == []


def test_speaker_embeddings_added_to_a_checkpoint_change_no_estimate_and_learn(debug_run, tmp_path):
    model = {"pretrained": str(debug_run / "last"), "speaker_embedding_size": 8, "speaker_loss_weight": 1.0}
    arguments = debug_arguments(tmp_path, "num_chunks=3", "max_steps=40", "valid_steps=40")
    arguments.model = model
    before = AutoModel.from_pretrained(debug_run / "last").eval()
    # as the run begins
    set_seed(arguments.seed)
    after = build_model(build_config(model), arguments).eval()
    features = torch.rand(2, before.config.num_bins, before.config.num_frames)
    torch.testing.assert_close(after(features).estimates, before(features).estimates, atol=0, rtol=0)
    train(arguments)
    losses = list(read_log(tmp_path).values())
    assert np.mean(losses[-3:]) < losses[0] - 0.03
    trained = AutoModel.from_pretrained(tmp_path / "last").speaker_proj.weight
    assert trained.shape == (8, before.config.hidden_size)
    assert not torch.allclose(trained, after.speaker_proj.weight, atol=0.01)


@pytest.mark.parametrize(
    ("num_chunks", "model", "message"),
    [
        (2, "{}", r"`num_chunks` is 2, but the model has no speaker embeddings"),
        (2, "{model_type: galr}", r"`num_chunks` is 2, but the model has no speaker embeddings"),
        (2, "{model_type: slot_galr}", r"`num_chunks` is 2, but .* no sequential slots"),
        (1, "{model_type: slot_galr, sequential_slots: true}", r"sequential slots, .* set `num_chunks` \(1\) to 2"),
        (1, "{speaker_embedding_size: 4}", r"`speaker_embedding_size` 4\), .* set `num_chunks` \(1\) to 2"),
        (
            2,
            "{speaker_embedding_size: 4, num_slots: 1}",
            r"`speaker_embedding_size` \(4\) must be 0 with `num_slots` 1",
        ),
        (
            2,
            "{speaker_embedding_size: 4, speaker_loss_weight: 0}",
            r"`speaker_loss_weight` \(0.0\) must be greater than 0",
        ),
    ],
)
def test_chunks_and_models_that_follow_speakers_need_each_other(num_chunks, model, message, tmp_path):
    arguments = debug_arguments(tmp_path / "run", f"num_chunks={num_chunks}", f"model={model}")
    with pytest.raises(SettingsError, match=message):
        train(arguments)
    assert not (tmp_path / "run").exists()


def test_mixtures_are_cut_into_chunks_that_know_their_mixture():
    references = torch.arange(24.0).view(2, 2, 6)
    mixtures, cut, recording_ids = cut_chunks({"mixture": references.sum(dim=1), "references": references}, 2)
    assert torch.equal(mixtures, cut.sum(dim=1))
    assert cut[1].tolist() == [[2, 3], [8, 9]] and cut[5].tolist() == [[16, 17], [22, 23]]
    assert recording_ids.tolist() == [0, 0, 0, 1, 1, 1]


def test_layers_that_a_checkpoint_itself_lacks_are_an_error(tmp_path):
    AutoModel.from_config(DprnnConfig(**TINY_DUAL_PATH)).save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"num_hidden_layers": 2', '"num_hidden_layers": 3'))
    arguments = debug_arguments(tmp_path / "run")
    for num_layers in (3, 4):
        arguments.model = {"pretrained": str(tmp_path), "num_hidden_layers": num_layers}
        with pytest.raises(SettingsError, match=r"do not fit, for example model.layers.2.\S+: change no sizes"):
            build_model(build_config(arguments.model), arguments)


@pytest.mark.parametrize(
    "precision, has_accelerator, expected", [("bf16", False, "eager"), ("bf16", True, "sdpa"), ("no", False, "sdpa")]
)
def test_half_precision_on_a_cpu_trains_with_plain_attention(
    tmp_path, monkeypatch, precision, has_accelerator, expected
):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: has_accelerator)
    arguments = debug_arguments(tmp_path, f"mixed_precision={precision}", "model={model_type: galr}")
    model = build_model(build_config(arguments.model), arguments)
    assert model.config._attn_implementation == expected
    model.save_pretrained(tmp_path)
    assert "eager" not in (tmp_path / "config.json").read_text()


def test_a_resumed_run_gives_the_losses_of_an_unbroken_one(debug_run, tmp_path):
    shutil.copytree(debug_run / "checkpoint-40", tmp_path / "checkpoint-40")
    train(debug_arguments(tmp_path))
    unbroken = read_log(debug_run)
    resumed = read_log(tmp_path)
    assert list(resumed) == [45, 50, 55, 60]
    assert resumed == {step: unbroken[step] for step in resumed}


def test_a_half_written_checkpoint_is_not_resumed_from(debug_run, tmp_path):
    shutil.copytree(debug_run / "checkpoint-40", tmp_path / ".tmp-checkpoint-50")
    train(debug_arguments(tmp_path, "max_steps=2", "log_steps=1"))
    assert list(read_log(tmp_path)) == [1, 2]


def test_a_time_budget_ends_cleanly_at_the_next_step(tmp_path):
    train(debug_arguments(tmp_path, "max_minutes=0", "log_steps=100"))
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-1"]


def test_the_log_of_a_run_whose_time_was_up_between_two_lines_continues_as_if_it_had_not_stopped(tmp_path):
    settings = ["max_steps=4", "log_steps=2"]
    train(debug_arguments(tmp_path / "whole", *settings))
    train(debug_arguments(tmp_path / "parts", *settings, "max_minutes=0"))
    train(debug_arguments(tmp_path / "parts", *settings))
    assert read_log(tmp_path / "parts") == read_log(tmp_path / "whole")


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    with pytest.raises(FloatingPointError, match="learning_rate"):
        train(debug_arguments(tmp_path, "learning_rate=1.0e30", "max_grad_norm=1.0e30", "max_steps=20"))


def test_bfloat16_and_workers_train_too(tmp_path):
    AcceleratorState._reset_state(reset_partial_state=True)
    train(debug_arguments(tmp_path, "mixed_precision=bf16", "num_workers=1", "max_steps=4", "log_steps=2"))
    AcceleratorState._reset_state(reset_partial_state=True)
    assert all(np.isfinite(loss) for loss in read_log(tmp_path).values())


def test_workers_draw_the_same_as_the_main_process(debug_run, tmp_path):
    train(debug_arguments(tmp_path, "num_workers=2", "max_steps=60", "max_minutes=0", "log_steps=1"))
    train(debug_arguments(tmp_path / "plain", "max_minutes=0", "log_steps=1"))
    assert read_log(tmp_path) == read_log(tmp_path / "plain")


@pytest.mark.slow
def test_the_command_of_the_readme_trains(tmp_path):
    command = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "1"]
    command += ["training/run_training.py", "training/configs/debug.yaml", f"output_dir={tmp_path}", "max_steps=6"]
    process = subprocess.run(command, capture_output=True, text=True, cwd=CONFIGS.parents[1], check=False)
    assert process.returncode == 0, process.stderr
    assert f"The best model is in {tmp_path / 'best'}" in process.stdout


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one(debug_run, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone"]
    command += ["training/run_training.py", "training/configs/debug.yaml", f"output_dir={tmp_path}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    # where there is nothing else, they take the CPU by themselves
    environment |= {"ACCELERATE_USE_CPU": "true"} if torch.accelerator.is_available() else {}
    root = CONFIGS.parents[1]
    process = subprocess.run(command, capture_output=True, text=True, cwd=root, env=environment, check=False)
    assert process.returncode == 0, process.stderr
    one, two = read_log(debug_run), read_log(tmp_path)
    assert list(one) == list(two)
    one, two = list(one.values()), list(two.values())
    # the mean over two halves rounds otherwise: hardly to be seen after ten steps, and amplified to 0.002 in sixty
    np.testing.assert_allclose(two[:2], one[:2], rtol=1e-4)
    np.testing.assert_allclose(two, one, rtol=0.01)


def test_a_loss_that_is_not_finite_and_a_folder_for_a_file_end_without_a_traceback(capsys, monkeypatch):
    def diverge(arguments):
        raise FloatingPointError("The loss is nan by step 3")

    monkeypatch.setattr(run_training, "train", diverge)
    for path, message in ((DEBUG, "The loss is nan by step 3"), (CONFIGS, str(CONFIGS))):
        with pytest.raises(SystemExit) as caught:
            run_training.main([str(path)])
        assert caught.value.code == 2
        assert message in capsys.readouterr().err


def test_an_autoencoder_trains_on_single_voices_and_is_validated(tmp_path):
    train(debug_arguments(tmp_path, "model.num_slots=1", "max_steps=10", "valid_steps=10"))
    assert list(read_log(tmp_path, "valid_si_snri")) == [10]


def test_another_run_is_not_continued(debug_run):
    before = (debug_run / "log.jsonl").read_text()
    with pytest.raises(SettingsError, match="`batch_size` 4, not 2"):
        train(debug_arguments(debug_run, "batch_size=2"))
    assert (debug_run / "log.jsonl").read_text() == before


def test_lists_of_mixtures_train_alone_and_beside_speech(tmp_path):
    listed = f"mixtures=[{{metadata: {SAMPLES / 'valid.csv'}, root: {SAMPLES / 'speech'}}}]"
    for name, overrides in (("alone", ["speech=[]"]), ("beside", [])):
        options = [f"output_dir={tmp_path / name}", listed, *overrides, "max_steps=3", "log_steps=1", "valid=null"]
        train(load_arguments(DEBUG, options))
    alone, beside = read_log(tmp_path / "alone"), read_log(tmp_path / "beside")
    assert list(alone) == list(beside) == [1, 2, 3] and alone != beside


def test_an_autoencoder_is_not_trained_on_mixtures(tmp_path):
    listed = f"mixtures=[{{metadata: {SAMPLES / 'valid.csv'}, root: {SAMPLES / 'speech'}}}]"
    with pytest.raises(SettingsError, match="valid.csv lists mixtures of 2 sources, but the model has 1"):
        train(load_arguments(DEBUG, [f"output_dir={tmp_path}", listed, "speech=[]", "model.num_slots=1"]))


def test_one_speaker_is_too_few(tmp_path):
    shutil.copytree(SAMPLES / "speech" / "msu_ru_nsh", tmp_path / "only")
    with pytest.raises(ValueError, match="1 speakers for mixtures of 2"):
        train(debug_arguments(tmp_path / "run", f"speech.0.root={tmp_path}"))


def test_a_dual_path_family_trains_by_its_yaml_alone(tmp_path):
    """Only `model` differs: the loop does not know the families."""
    overrides = [
        "model={model_type: galr, chunk_length: 8000, hidden_size: 16, encoder_kernel_size: 32, segment_length: 20,"
        " lstm_hidden_size: 8, num_hidden_layers: 1, num_attention_heads: 2}",
        "max_steps=6",
        "save_steps=3",
        "valid_steps=6",
    ]
    best = train(debug_arguments(tmp_path, *overrides))
    losses = list(read_log(tmp_path).values())
    assert losses and all(np.isfinite(losses))
    for folder in (best, tmp_path / "checkpoint-3"):
        assert AutoModel.from_pretrained(folder).config.model_type == "galr"
        assert AutoFeatureExtractor.from_pretrained(folder).chunk_length == 8000
