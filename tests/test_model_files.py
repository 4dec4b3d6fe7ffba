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
"""What is wrong with the files of a model is said in one sentence, before any of the model is built."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import pipeline

from audioslots_hf import load_separator
from audioslots_hf.cli import main
from audioslots_hf.configuration_galr import GalrConfig
from audioslots_hf.model_files import BrokenModelError, build_skeleton, check_weights
from audioslots_hf.modeling_galr import GalrForAudioSeparation
from audioslots_hf.separator import Separator
from audioslots_hf.shipped import find_checkpoint
from audioslots_hf.voice_encoders import DEFAULT_VOICE_ENCODER, VOICES_DIR, load_voice_encoder
from tests.audio_helpers import noise
from tests.conftest import SAMPLES, TINY_DUAL_PATH, tiny_waveform_feature_extractor


@pytest.fixture
def folder(tmp_path) -> Path:
    """A copy of the default checkpoint."""
    return Path(shutil.copytree(find_checkpoint(None), tmp_path / "model"))


def change(file: Path, **settings) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))


def refusal(folder: Path) -> str:
    with pytest.raises(ValueError, match="^The model ") as info:
        load_separator(folder, device="cpu")
    message = str(info.value)
    assert "\n" not in message and str(folder) in message
    return message


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"num_hidden_layers": 10**9}, "`num_hidden_layers` (1000000000) in config.json must be from 0 to 1000"),
        ({"num_labels": 10**9}, "`num_labels` (1000000000) in config.json"),
        ({"hidden_size": 10**9}, "`hidden_size` (1000000000) in config.json"),
        (
            {"segment_length": 65534},
            "its weights do not fit config.json: model.layers.0.global_block.summary_proj.weight",
        ),
        ({"chunk_length": 64 * 10**9}, "`chunk_length` (64000000000) in config.json"),
        ({"sampling_rate": 10**9}, "`sampling_rate` (1000000000) in config.json"),
        ({"layer_norm_eps": float("nan")}, "`layer_norm_eps` (nan) in config.json"),
        ({"hidden_size": "128"}, "Field 'hidden_size' expected int, got str"),
        ({"dtype": "rubbish"}, "`dtype` ('rubbish') in config.json must be one of float32"),
        ({"dtype": 5}, "`dtype` (5) in config.json"),
        ({"architectures": 5}, "`architectures` (5) in config.json must be of the type list"),
        ({"id2label": 5}, "`id2label` (5) in config.json must be of the type dict"),
        ({"quantization_config": {}}, "`quantization_config`"),
        ({"attribute_map": 5}, "`attribute_map`"),
        ({"sub_configs": {"a": 1}}, "`sub_configs`"),
        ({"layer_types": 5}, "`layer_types`"),
        ({"rope_parameters": "x"}, "`rope_parameters`"),
        ({"num_labels": "x"}, "`num_labels` ('x') in config.json must be of the type int"),
        ({"attn_implementation": [1]}, "`attn_implementation` ([1]) in config.json must be of the type str"),
        ({"architectures": [[1]]}, "`architectures` ([[1]]) in config.json must hold names of classes"),
        ({"return_dict": False}, "`return_dict`"),
        ({"validate": 3}, "`validate` in config.json is no setting"),
        ({"model_type": "wav2vec2"}, "its `model_type` is 'wav2vec2', which is no separation model of this package"),
        ({"model_type": "audioslots_voice_encoder"}, "`model_type` is 'audioslots_voice_encoder'"),
        ({"encoder_stride": 3}, "`encoder_stride` in config.json is no setting: GalrConfig computes it"),
        ({"model_type": None}, "its `model_type` is None"),
        ({"model_type": ["galr"]}, "its `model_type` is ['galr']"),
        ({"auto_map": 5}, "`auto_map` (5) in config.json must be of the type dict"),
        ({"auto_map": None}, "`auto_map` (None) in config.json must hold names of classes"),
        ({"auto_map": {"AutoModel": 5}}, "`auto_map` ({'AutoModel': 5}) in config.json must hold names of classes"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused_by_name(folder, settings, message):
    change(folder / "config.json", **settings)
    assert message in refusal(folder)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"sampling_rate": 8000}, "`sampling_rate` is 8000 in preprocessor_config.json but 16000 in config.json"),
        ({"sampling_rate": "16000"}, "`sampling_rate` ('16000') in preprocessor_config.json must be like 16000"),
        ({"chunk_length": 10**12}, "`chunk_length` (1000000000000) in preprocessor_config.json"),
        ({"chunk_length": 8001}, "`chunk_length` is 8001"),
        (
            {"post_process_audio_separation": 5},
            "`post_process_audio_separation` in preprocessor_config.json is no setting",
        ),
        ({"feature_extractor_type": "Wav2Vec2FeatureExtractor"}, "is not a separation model"),
        (
            {"feature_extractor_type": 5},
            "`feature_extractor_type` (5) in preprocessor_config.json must be of the type str",
        ),
        ({"auto_map": True}, "`auto_map` (True) in preprocessor_config.json must be of the type dict"),
    ],
)
def test_a_feature_extractor_of_another_model_is_refused(folder, settings, message):
    change(folder / "preprocessor_config.json", **settings)
    assert message in refusal(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", "nul", '{"a":' * 100_000, '{"a": ' + "9" * 5000 + "}"])
@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_a_settings_file_that_is_none_is_named(folder, name, content):
    (folder / name).write_text(content)
    assert f"{name} is not valid JSON" in (message := refusal(folder)) or f"{name} holds a list" in message


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"cannot be loaded: the folder holds no config\.json, so it is no model"):
        load_separator(tmp_path)


def test_missing_weights_are_named(folder):
    tensors = load_file(folder / "model.safetensors")
    kept = dict(list(tensors.items())[::2])
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    num_missing = len(tensors) - len(kept)
    assert f"its weights lack {num_missing} of the {len(tensors)} tensors of GalrForAudioSeparation" in refusal(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(folder, value):
    tensors = load_file(folder / "model.safetensors")
    name = sorted(tensors)[3]
    tensors[name].view(-1)[0] = value
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert f"1 of its tensors hold NaN or infinite values: {name}." in refusal(folder)


@pytest.mark.parametrize("name", ["../model/part.safetensors", "/part.safetensors", "C:part.safetensors", "part.bin"])
def test_an_index_names_no_file_outside_its_folder(folder, name):
    (folder / "model.safetensors").rename(folder / "part.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    assert f"model.safetensors.index.json names {name!r}" in refusal(folder)


def test_an_index_without_a_map_and_a_folder_without_weights_are_refused(folder):
    (folder / "model.safetensors").unlink()
    assert "it has no model.safetensors" in refusal(folder)
    (folder / "model.safetensors.index.json").write_text('{"weight_map": [5]}')
    assert "has no `weight_map`" in refusal(folder)


def test_weights_in_several_files_load(separator, tmp_path):
    separator.model.save_pretrained(tmp_path, max_shard_size="2kB")
    separator.feature_extractor.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors.index.json").is_file()
    loaded = load_separator(tmp_path, device="cpu").model.state_dict()
    for name, tensor in separator.model.state_dict().items():
        assert torch.equal(loaded[name], tensor)


def test_nothing_is_allocated_before_the_sizes_are_checked(folder, monkeypatch):
    change(folder / "config.json", segment_length=65534, lstm_hidden_size=65536)
    seen = []
    monkeypatch.setattr(
        "audioslots_hf.model_files.build_skeleton", lambda *what: seen.append(build_skeleton(*what)) or seen[-1]
    )
    with pytest.raises(ValueError, match="do not fit"):
        check_weights(GalrForAudioSeparation, GalrConfig.from_pretrained(folder), folder, {})
    assert {tensor.device.type for tensor in seen[0].state_dict().values()} == {"meta"}


def test_the_command_says_in_one_line_that_a_model_is_broken(folder, tmp_path, capsys):
    change(folder / "config.json", num_hidden_layers=10**9)
    status = main(["separate", str(SAMPLES / "two_voices.flac"), "-o", str(tmp_path), "--model", str(folder)])
    errors = capsys.readouterr().err
    assert status == 1 and errors.startswith("audioslots: error: The model ") and errors.count("\n") == 1


def test_estimates_that_are_not_finite_are_refused_before_anything_is_written(separator):
    with torch.no_grad():
        next(separator.model.parameters()).fill_(float("nan"))
    with pytest.raises(ValueError, match="estimates hold NaN or infinite samples"):
        separator(noise(2001))
    with pytest.raises(ValueError, match="estimates hold NaN or infinite samples"):
        Separator(separator.model, separator.feature_extractor).separate(torch.from_numpy(noise(2001))[None])


def break_index(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder.parent / "part.safetensors")
    names = dict.fromkeys(load_file(folder.parent / "part.safetensors"), "../part.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))


def change_weights(folder: Path, change) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors, sorted(tensors)[3])
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


# the ways to break a model, and the words of each refusal
FAULTS = {
    "many layers": (lambda folder: change(folder / "config.json", num_hidden_layers=10**9), "must be from 0 to 1000"),
    "many labels": (lambda folder: change(folder / "config.json", num_labels=10**9), "must be from 0 to 1000"),
    "long chunks": (
        lambda folder: change(folder / "preprocessor_config.json", chunk_length=10**12),
        "must be from 1 to",
    ),
    "other rate": (
        lambda folder: change(folder / "preprocessor_config.json", sampling_rate=16000),
        "is 16000 in preproc",
    ),
    "index": (break_index, "'../part.safetensors', which is no file of weights beside it"),
    "cut": (
        lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-9]),
        "model.safetensors is no complete file of weights",
    ),
    "missing": (lambda folder: change_weights(folder, lambda tensors, name: tensors.pop(name)), "lack 1 of the"),
    "NaN": (
        lambda folder: change_weights(folder, lambda tensors, name: tensors[name].view(-1)[:1].fill_(float("nan"))),
        "1 of its tensors hold NaN",
    ),
    "integers": (
        lambda folder: change_weights(folder, lambda tensors, name: tensors.update({name: tensors[name].int()})),
        "has the type I32 instead of F32",
    ),
    "flat": (
        lambda folder: change_weights(folder, lambda tensors, name: tensors.update({name: tensors[name].view(-1, 1)})),
        "instead of",
    ),
}
WITHOUT_PACKAGE = """
import sys
from transformers import pipeline
for folder, words in zip(sys.argv[1::2], sys.argv[2::2]):
    try:
        pipeline("audio-to-audio", model=folder, trust_remote_code=True, device="cpu")
    except Exception as error:
        assert words in str(error) and "Traceback" not in str(error), (folder, str(error))
    else:
        raise AssertionError(folder)
"""


@pytest.fixture
def broken(tmp_path) -> dict[Path, str]:
    """Folders with a fault each, and the words that name it."""
    torch.manual_seed(0)
    whole = GalrForAudioSeparation(GalrConfig(**TINY_DUAL_PATH, summary_length=4, num_attention_heads=2))
    folders = {}
    for name, (damage, words) in FAULTS.items():
        folder = tmp_path / name / "model"
        whole.save_pretrained(folder)
        tiny_waveform_feature_extractor().save_pretrained(folder)
        damage(folder)
        folders[folder] = words
    return folders


def test_the_pipeline_of_transformers_refuses_broken_models_in_the_same_words(broken):
    for folder, words in broken.items():
        for options in ({}, {"trust_remote_code": True}):
            with pytest.raises((ValueError, BrokenModelError), match=re.escape(words)) as info:
                pipeline("audio-to-audio", model=str(folder), device="cpu", **options)
            assert "Traceback" not in str(info.value)
        with pytest.raises(ValueError, match=re.escape(words)):
            load_separator(folder, device="cpu")


def test_code_of_a_repository_refuses_broken_models_where_the_package_is_not_installed(broken, bare_processes):
    bare_processes.run(WITHOUT_PACKAGE, *(word for pair in broken.items() for word in pair))


def test_weights_for_training_may_be_missing_but_not_broken(tmp_path):
    model = GalrForAudioSeparation(GalrConfig(**TINY_DUAL_PATH, summary_length=4, num_attention_heads=2))
    model.save_pretrained(tmp_path)
    change_weights(tmp_path, lambda tensors, name: tensors.pop(name))
    loaded, info = GalrForAudioSeparation.from_pretrained(tmp_path, output_loading_info=True)
    assert len(info["missing_keys"]) == 1
    change_weights(tmp_path, lambda tensors, name: tensors[name].view(-1)[:1].fill_(float("inf")))
    with pytest.raises(BrokenModelError, match="1 of its tensors hold NaN or infinite"):
        GalrForAudioSeparation.from_pretrained(tmp_path, output_loading_info=True)


def test_a_broken_voice_encoder_is_refused(tmp_path):
    folder = Path(shutil.copytree(VOICES_DIR / DEFAULT_VOICE_ENCODER, tmp_path / "voice"))
    load_voice_encoder(folder)
    change_weights(folder, lambda tensors, name: tensors[name].view(-1)[:1].fill_(float("nan")))
    with pytest.raises(ValueError, match="The voice encoder .* hold NaN"):
        load_voice_encoder(folder)
    change(folder / "config.json", hidden_size=10**9)
    with pytest.raises(ValueError, match="`hidden_size` .* must be from 0 to"):
        load_voice_encoder(folder)
