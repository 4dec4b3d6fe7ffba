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
import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import CONFIG_MAPPING, FEATURE_EXTRACTOR_MAPPING, MODEL_MAPPING, AutoModel

import audioslots_hf
from audioslots_hf import AudioSlotsConfig, GalrConfig, load_separator
from audioslots_hf.export import export_model
from audioslots_hf.families import FAMILIES, Family
from audioslots_hf.registration import register_family
from audioslots_hf.separator import Separator
from tests import toy_family
from tests.conftest import SAMPLES, tiny_audioslots_config, tiny_audioslots_feature_extractor
from tests.evaluation.helpers import run
from tests.training_helpers import debug_arguments, read_log
from training.arguments import MixtureArguments
from training.data.mixtures import load_mixtures
from training.evaluation.separators import AutoencoderSeparator, build_separator
from training.loop import check_objective, train
from training.model import build_config, build_model
from training.reporting.results import read_results
from training.reporting.tables import format_waveform_families
from training.settings import SettingsError


ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "audioslots_hf"
# A family's own files, and the benchmarks of AudioSlots' decoder and of a network of SlotGALR's layers.
FAMILY_FILES = [
    path
    for kind in ("configuration", "feature_extraction", "modeling")
    for path in PACKAGE.glob(f"{kind}_*.py")
    # shared base classes, and classes that do not separate
    if path.stem != "modeling_outputs" and "_voice_" not in path.stem
]
OWN_BENCHMARKS = ("broadcast_decoder.py", "refine.py", "refiner.py")
OWN_FILES = [*FAMILY_FILES, *(ROOT / "training" / "benchmark" / name for name in OWN_BENCHMARKS)]
SHARED_FILES = sorted(
    {*PACKAGE.glob("*.py"), *(ROOT / "training").rglob("*.py")} - {*OWN_FILES, PACKAGE / "families.py"}
)


@pytest.fixture
def toy(monkeypatch, tmp_path) -> Path:
    """A checkpoint of a fourth family, which is known to `families.py` alone."""
    family = Family("toy", "Toy", "Toy", "feature_extraction_waveform", "WaveformFeatureExtractor")
    monkeypatch.setitem(FAMILIES, "toy", family)
    for kind in ("configuration", "modeling"):
        monkeypatch.setitem(sys.modules, f"audioslots_hf.{kind}_toy", toy_family)
    # other tests see the families that there are
    for mapping in (CONFIG_MAPPING, FEATURE_EXTRACTOR_MAPPING, MODEL_MAPPING):
        monkeypatch.setattr(mapping, "_extra_content", dict(mapping._extra_content))
    register_family(family)
    config = toy_family.ToyConfig()
    family.model_class(config).save_pretrained(tmp_path / "toy")
    family.feature_extractor_class.from_config(config).save_pretrained(tmp_path / "toy")
    return tmp_path / "toy"


def class_names(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.ClassDef)}


def used_names(tree: ast.AST) -> set[str]:
    found = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    found |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return found | {node.name for node in ast.walk(tree) if isinstance(node, ast.alias)}


def compared_strings(tree: ast.AST) -> set[str]:
    compared = [node for node in ast.walk(tree) if isinstance(node, ast.Compare)]
    constants = [part for node in compared for part in ast.walk(node) if isinstance(part, ast.Constant)]
    return {node.value for node in constants if isinstance(node.value, str)}


def test_nothing_outside_a_family_names_its_classes_or_asks_for_its_type():
    family_classes = set().union(*map(class_names, FAMILY_FILES))
    assert {
        "GalrConfig",
        "AudioSlotsForAudioSeparation",
        "DualPathConfig",
        "WaveformFeatureExtractor",
    } <= family_classes
    for path in SHARED_FILES:
        tree = ast.parse(path.read_text("utf-8"))
        assert not used_names(tree) & family_classes, path
        assert not compared_strings(tree) & set(FAMILIES), path


def test_families_are_listed_without_an_import_of_torch():
    code = (
        "import sys, types; package = types.ModuleType('audioslots_hf'); package.__path__ = [sys.argv[1]]; "
        "sys.modules['audioslots_hf'] = package; from audioslots_hf.families import FAMILIES, list_public_classes; "
        "print(*(family.title for family in FAMILIES.values()), len(list_public_classes()), 'torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code, PACKAGE], capture_output=True, text=True, check=True).stdout
    assert out.split() == ["AudioSlots", "GALR", "SlotGALR", "DPRNN", "18", "False"]


def test_every_family_names_its_classes():
    for model_type, family in FAMILIES.items():
        assert family.model_type == family.config_class.model_type == model_type
        assert family.model_class.config_class is family.config_class
        for name in family.modules:
            assert getattr(audioslots_hf, name) is family.load(name)
    with pytest.raises(AttributeError, match="'audioslots_hf' has no attribute 'ToyConfig'"):
        audioslots_hf.ToyConfig  # noqa: B018


def test_a_new_family_separates_in_the_pipeline_and_is_exported(toy, tmp_path):
    pipeline = load_separator(toy, device="cpu", num_speakers="outputs")
    assert type(pipeline.model) is toy_family.ToyForAudioSeparation
    audio, _ = soundfile.read(SAMPLES / "two_voices.flac", dtype="float32")
    sources = pipeline(str(SAMPLES / "two_voices.flac"))
    assert [source["label"] for source in sources] == ["source_0", "source_1"]
    np.testing.assert_allclose(sum(source["audio"] for source in sources), audio, atol=1e-5)
    description = export_model(pipeline, "torch-export", tmp_path / "toy.pt2")
    assert description["input"] == "input_values (batch_size, 8000)"


def test_a_new_family_is_trained_and_fine_tuned_by_its_name(toy, tmp_path):
    best = train(debug_arguments(tmp_path / "run", "model={model_type: toy}", "max_steps=2", "valid_steps=2"))
    assert AutoModel.from_pretrained(best).config.model_type == "toy"
    assert list(read_log(tmp_path / "run", "valid_si_snri")) == [2]
    arguments = debug_arguments(tmp_path / "more", f"model={{pretrained: {best}}}")
    config = build_config(arguments.model)
    check_objective(arguments, config)
    expected, found = AutoModel.from_pretrained(best).model.levels, build_model(config, arguments).model.levels
    assert torch.equal(found, expected)


def test_a_new_family_is_evaluated_and_stands_in_the_report(toy, tmp_path):
    results = run(toy, tmp_path / "toy_results")
    assert results["model_type"] == "toy" and set(results["rows"]) == {
        "model_order_by_tracker",
        "model_order_by_references",
    }
    # every estimate is the mixture
    assert results["rows"]["model_order_by_tracker"]["si_snri"] == pytest.approx(0, abs=0.01)
    table = format_waveform_families([read_results(tmp_path / "toy_results" / "results.json")])
    assert "| Toy | `toy` | 2 |" in table


def test_a_family_says_which_parts_may_grow(toy, tmp_path):
    arguments = debug_arguments(tmp_path / "run", f"model={{pretrained: {toy}, num_sources: 3}}")
    with pytest.raises(SettingsError, match="do not fit"):
        build_model(build_config(arguments.model), arguments)
    arguments.model = {"pretrained": "galr-small", "num_hidden_layers": 2}
    with pytest.raises(SettingsError, match="for galr, only `num_hidden_layers` may grow"):
        build_model(build_config(arguments.model), arguments)


def test_one_slot_is_an_autoencoder_unless_the_configuration_says_otherwise():
    # checkpoints from before the field
    assert tiny_audioslots_config(num_slots=1).is_autoencoder
    assert not tiny_audioslots_config(num_slots=1, autoencoder=False).is_autoencoder
    assert not tiny_audioslots_config().is_autoencoder and not GalrConfig().is_autoencoder
    config = AudioSlotsConfig.from_dict(tiny_audioslots_config(num_slots=1, autoencoder=False).to_dict())
    assert not config.is_autoencoder
    with pytest.raises(StrictDataclassError, match=r"`num_slots` \(2\) must be 1 with `autoencoder`"):
        tiny_audioslots_config(autoencoder=True)


def test_only_an_autoencoder_hears_the_references():
    feature_extractor = tiny_audioslots_feature_extractor()
    for overrides, expected in (({}, AutoencoderSeparator), ({"autoencoder": False}, Separator)):
        model = AutoModel.from_config(tiny_audioslots_config(num_slots=1, **overrides))
        assert type(build_separator(model, feature_extractor)) is expected
    # of a model of one voice in noise, the estimate is made of the mixture
    assert build_separator(model, feature_extractor).separate(torch.randn(1, 2000)).shape == (1, 1, 2000)


def test_only_an_autoencoder_is_given_mixtures_of_any_number():
    listed = MixtureArguments(metadata=str(SAMPLES / "valid.csv"), root=str(SAMPLES / "speech"))
    assert load_mixtures(listed, 16000, None, show_progress=False)[0].references.shape[0] == 2
    with pytest.raises(SettingsError, match="mixtures of 2 sources, but the model has 1"):
        load_mixtures(listed, 16000, 1, show_progress=False)
