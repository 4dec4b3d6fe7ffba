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
import itertools
import re
import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from transformers import AutoModel

from audioslots_hf.shipped import DEFAULT_CHECKPOINT
from tests.conftest import SAMPLES
from tests.training_helpers import CONFIGS, DEBUG, debug_arguments
from training.arguments import load_arguments
from training.loop import check_objective, train
from training.model import build_config, build_feature_extractor
from training.settings import SettingsError


def test_there_are_few_configs():
    assert len(list(CONFIGS.rglob("*.yaml"))) <= 20


def test_fine_tuning_starts_from_the_default_checkpoint_and_compares_itself_with_it():
    arguments = load_arguments(CONFIGS / "finetune.yaml", [])
    assert arguments.model["pretrained"] == DEFAULT_CHECKPOINT
    assert arguments.validate_first and arguments.valid is not None


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_config_parses_and_its_model_steps(path, monkeypatch):
    monkeypatch.chdir(CONFIGS.parents[1])
    arguments = load_arguments(path, [])
    config = build_config(arguments.model)
    check_objective(arguments, config)
    if arguments.valid is not None and Path(arguments.valid.metadata).exists():
        # a stand-in for its validation list, because LibriMix's own lists are not in the repository
        metadata = Path(arguments.valid.metadata).read_text().splitlines()[0]
        assert config.num_sources in (1, metadata.count("_path") - metadata.count("noise_path"))
    assert arguments.output_dir == f"runs/{path.stem}"
    device = "meta"
    if config.model_type != "audioslots":
        # on the meta device an LSTM goes step by step: a fifth of a second on the CPU is faster
        config, device = build_config(arguments.model | {"chunk_length": 3200}), "cpu"
    references = torch.randn(arguments.num_chunks, config.num_sources, config.chunk_length)
    features = build_feature_extractor(config)(references.sum(dim=1), labels=references).to(device)
    if arguments.num_chunks > 1:
        features["recording_ids"] = torch.zeros(arguments.num_chunks, dtype=torch.long, device=device)
    with torch.device(device):
        model = AutoModel.from_config(config)
        model(**features).loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_config_names_its_paper_hardware_hours_and_score(path):
    lines = itertools.takewhile(lambda line: line.startswith("# "), path.read_text().splitlines())
    header = " ".join(line.removeprefix("# ") for line in lines)
    assert re.search(r"Paper: (arXiv \d{4}\.\d{5}, |no row)", header)
    run = re.search(r"Hardware: .+\. Hours: .+\. Score: (.+)\.$", header)
    assert run or header.endswith("Hardware, hours, score: not yet run.")
    if run and not run[1].startswith("none"):
        text = (CONFIGS.parents[1] / run[1]).read_text()
        if run[1] == "training/HISTORY.md":
            assert f"| `{path.stem}` |" in text
        else:
            assert run[1] == f"training/results/{path.stem}/results.json"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["learning_rat=1"], "`learning_rat`: did you mean `learning_rate`"),
        (["nonsense=1"], "`nonsense`: the keys are augmentations, batch_size, "),
        (["output_dir=null"], "output_dir.*None.*string"),
        (["speech.0.roots=x"], r"speech\.0\.roots`: did you mean `speech\.0\.root`"),
        (["speech=[{roots: x}]"], r"speech\.0\.roots`: did you mean `speech\.0\.root`"),
        (["speech=[{weight: 1}]"], r"key `speech\.0\.root` is missing"),
        (["speech.3.root=x"], "1 entries"),
        (["speech=[]"], "speech"),
        (["batch_size"], "no `=`"),
        (["batch_size=0"], "batch_size"),
        (["num_chunks=0"], "num_chunks"),
        (["mixed_precision=fp8"], "fp8"),
        (["valid.root=null"], "`valid`.*`metadata` and `root`"),
        (["augmentations=[{type: speed_perturbation, factors: []}]"], r"augmentations\.0\.factors.*at least 1 item"),
        (["learning_rate=fast"], "learning_rate.*'fast'.*number"),
        (["max_steps=1.5"], "max_steps.*1.5.*integer"),
        (["output_dir=3"], "output_dir"),
        (["max_minutes=soon"], "max_minutes.*'soon'"),
        (["augmentations.0.factors=[fast]"], r"augmentations\.0\.factors\.0.*fast.*number"),
        (["speech.0.weight=-1"], "speech.0.weight"),
        (["speech.0.noise_floor_db=[-50]"], "noise_floor_db"),
        (["learning_rate=-1.0"], "learning_rate"),
        (["augmentations=[1.0"], "not valid yaml"),
        (["decay_rate=1.5"], "decay_rate.*1.5"),
        (["decay_steps=0"], "decay_steps"),
        (["mixtures=[{tree: a, mode: max}]"], "mode.*'max'.*does not apply to a `tree`"),
        (["mixtures=[{tree: a, split: dev}]"], "split.*'dev'.*does not apply to a `tree`"),
        (["mixtures=[{dataset: a, source_columns: [a, b], mix_type: mix_both}]"], "mix_type.*mix_both.*`dataset`"),
        (["mixtures=[{metadata: a, root: b, mixture_column: c}]"], "mixture_column.*'c'.*`metadata`"),
        (["gradient_accumulation_steps=0"], "gradient_accumulation_steps.*0"),
        (["gradient_accumulation_steps=3"], r"batch_size.*4.*gradient_accumulation_steps.*3"),
        (["ema_decay=1.0"], "ema_decay.*1.0"),
        (["patience=0"], "patience.*0"),
        (["patience=3", "valid=null"], "patience.*valid"),
        (["validate_first=true", "valid=null"], "validate_first.*valid"),
        (["objective=mixit", "mixtures=[{tree: a}]"], "mixit.*under `speech`"),
        (["objective=remixit"], "remixit.*model.pretrained.*mixit"),
        (["objective=remixit", "model.pretrained=a", "mixtures=[{tree: a}]"], "remixit.*under `speech`"),
        (["objective=pit"], "objective.*'pit'"),
        (["optimizer=sgd"], "optimizer.*'sgd'.*'adam' or 'muon'"),
        (["compile=1"], "compile.*1.*bool"),
        (["max_steps=true"], "max_steps.*True.*integer"),
        (["seed=-1"], "seed.*-1"),
        (["num_workers=-1"], "num_workers.*-1"),
        (["num_valid_mixtures=0"], "num_valid_mixtures.*0"),
        (["speech_on_device=true", "mixtures=[{tree: a}]"], "speech_on_device.*`mixtures` empty"),
        (["speech_on_device=true", "speech.0.in_memory=false"], r"speech_on_device.*speech\.0\.in_memory"),
        (["speech_on_device=true", "num_workers=2"], r"speech_on_device.*num_workers.*2"),
        (["learning_rate=.nan"], "learning_rate.*nan.*finite"),
        (["max_minutes=1e999"], "max_minutes.*inf.*finite"),
        (["speech.0.weight=.nan"], r"speech\.0\.weight.*nan.*finite"),
        (["speech.0.weight=.inf"], r"speech\.0\.weight.*inf.*finite"),
        (["mixtures=[{tree: a, weight: .nan}]"], r"mixtures\.0\.weight.*nan.*finite"),
        (["model.compression_exponent=.nan"], r"model\.compression_exponent.*nan.*finite"),
        (["speech.0.noise_floor_db=[a, b]"], r"noise_floor_db\.0.*'a'.*number"),
        (["speech.0.noise_floor_db=[-35, -50]"], r"noise_floor_db.*-35.*lowest, highest"),
        (["augmentations=1"], "augmentations.*1.*array"),
        (["augmentations.0.factors=1"], r"augmentations\.0\.factors.*1.*array"),
        (["augmentations.0.factors=[0.001]"], r"augmentations\.0\.factors\.0.*0\.001.*at least 0\.5"),
        (["augmentations.0.factors=[1.0, 3.0]"], r"augmentations\.0\.factors\.1.*3\.0.*at most 2"),
        (["augmentations.1.max_db=-1.0"], r"augmentations\.1\.max_db.*-1\.0.*greater than 0"),
        (
            ["augmentations=[{type: high_pass, cutoff_hz: [400.0, 50.0]}]"],
            r"augmentations\.0.*cutoff_hz.*400\.0, 50\.0.*lowest, highest",
        ),
        (
            ["augmentations=[{type: high_pass, cutoff_hz: [19.0, 400.0]}]"],
            r"cutoff_hz\.0.*19\.0.*at least 20",
        ),
        (["augmentations=[{type: high_pass, cutoff_hz: [400.0]}]"], r"cutoff_hz.*400\.0.*at least 2 items"),
        (["augmentations=[{type: dynamic_range_compression, max_exponent: 1.0}]"], r"max_exponent.*1\.0.*less than 1"),
        (["augmentations=[{type: shared_spectrum, share: 1.5}]"], r"share.*1\.5.*at most 1"),
        (["augmentations=[{type: echo}]"], r"augmentations\.0\.type.*'echo'.*'high_pass'.*'polarity'"),
        (["augmentations=[{}]"], r"augmentations\.0\.type` is missing"),
        (["augmentations=[{type: polarity, share: 0.5}]"], r"Unknown key `augmentations\.0\.share`"),
        (["augmentations=[{type: shared_spectrum}]"], r"key `augmentations\.0\.share` is missing"),
        (["augmentations=[{type: polarity}, {type: polarity}]"], "augmentations.*polarity more than once"),
        (["max_steps.a.b=1"], r"max_steps\.a\.b`: `max_steps` holds no keys"),
        (["max_steps.a=1"], r"max_steps\.a`: `max_steps` holds no keys"),
        (["augmentations.0.factors.3=0.9"], r"factors\.3`: `augmentations\.0\.factors` has 3 entries"),
        (["augmentations.0.factors.0=3.0"], r"factors.*3\.0.*at most 2"),
        (["speech=[{root: a, weight: 1, weight: 2}]"], 'duplicate key "weight", in line 1'),
    ],
)
def test_bad_arguments_are_named(overrides, message):
    with pytest.raises(ValueError, match=message):
        load_arguments(DEBUG, overrides)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"batch_size: 4\nseed: 1\nbatch_size: 8\n", 'duplicate key "batch_size", in line 3'),
        (b"", "holds no keys"),
        (b"output_dir: \xff\n", "not valid yaml"),
    ],
)
def test_a_bad_file_of_arguments_is_named(tmp_path, text, message):
    (tmp_path / "bad.yaml").write_bytes(text)
    with pytest.raises(SettingsError, match=f"bad.yaml.*{message}"):
        load_arguments(tmp_path / "bad.yaml", ["seed=1"])


def test_no_precision_can_be_said_in_yaml():
    assert load_arguments(DEBUG, ["mixed_precision=no"]).mixed_precision == "no"


def test_numbers_that_yaml_reads_as_strings_are_numbers():
    arguments = load_arguments(DEBUG, ["learning_rate=1e-3", "max_minutes=2", "speech.0.weight=3"])
    assert (arguments.learning_rate, arguments.max_minutes, arguments.speech[0].weight) == (0.001, 2.0, 3.0)


def test_numbers_of_a_model_are_read_alike():
    arguments = load_arguments(DEBUG, ["model.layer_norm_eps=1e-6", "model.compression_exponent=1"])
    config = build_config(arguments.model)
    assert (config.layer_norm_eps, config.compression_exponent) == (1e-6, 1.0)
    with pytest.raises(SettingsError, match=r"model\.layer_norm_eps` \('small'\) must be a valid number"):
        build_config({"layer_norm_eps": "small"})


def test_missing_paths_are_named_before_any_work(tmp_path):
    with pytest.raises(SettingsError, match=r"speech\.0\.root.*nowhere"):
        train(debug_arguments(tmp_path / "run", "speech.0.root=nowhere"))
    assert not (tmp_path / "run").exists()


def test_a_broken_file_is_named(tmp_path):
    shutil.copytree(SAMPLES / "speech", tmp_path / "speech")
    broken = tmp_path / "speech" / "msu_ru_nsh" / "broken.wav"
    broken.write_text("no audio")
    with pytest.raises(SettingsError, match="broken.wav"):
        train(debug_arguments(tmp_path / "run", f"speech.0.root={tmp_path / 'speech'}"))
    soundfile.write(broken, np.full(100, np.nan), 16000, subtype="FLOAT")
    with pytest.raises(SettingsError, match="broken.wav.*NaN"):
        train(debug_arguments(tmp_path / "run", f"speech.0.root={tmp_path / 'speech'}"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        # under the name that every family knows, too
        (["model.num_sources=3"], "mixtures of 2 sources, but the model has 3"),
        (["model.num_slots=3"], "mixtures of 2 sources, but the model has 3"),
        (["model.num_slot=3"], "model.num_slot"),
        (["objective=mixit"], "mixit.*audioslots.*galr or slot_galr or dprnn"),
        (["objective=remixit", "model={pretrained: audioslots-small}"], "remixit.*audioslots does not have"),
        (["model.hop_length=333"], "hop_length"),
        (["speech.0.root=training/configs"], "contains no audio file"),
        (["speech.0.root=tests/samples"], "is directly in tests/samples"),
        (["valid.metadata=training/metadata/kokoro_valid.csv"], "not a LibriMix metadata"),
        (["valid.metadata=training/metadata/libri2mix_valid.csv"], "row 2: .* is no file below"),
    ],
)
def test_settings_that_cannot_work_are_named_before_the_first_step(tmp_path, monkeypatch, overrides, message):
    monkeypatch.chdir(CONFIGS.parents[1])
    arguments = debug_arguments(tmp_path)
    validation = [f"valid.metadata={arguments.valid.metadata}", f"valid.root={arguments.valid.root}"]
    with pytest.raises(SettingsError, match=message):
        train(load_arguments(DEBUG, [f"output_dir={tmp_path}", *validation, *overrides]))
    assert not (tmp_path / "log.jsonl").exists()


def test_the_command_prints_the_fault_without_a_traceback(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["run_training.py", str(DEBUG), "nonsense=1"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(CONFIGS.parent / "run_training.py"), run_name="__main__")
    assert stop.value.code == 2
    assert "nonsense" in capsys.readouterr().err
