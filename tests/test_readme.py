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
import hashlib
import re
from pathlib import Path

import pytest

from audioslots_hf.separator import CHECKPOINTS_DIR, DEFAULT_CHECKPOINT, list_checkpoints
from training.arguments import load_arguments
from training.tables import RESULTS_DIR, best_score, format_results, load_evaluations, read_results


ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_the_python_of_the_readme_runs(code, monkeypatch):
    monkeypatch.chdir(ROOT)
    namespace = {}
    exec(code, namespace)
    if "waveforms" in namespace:
        assert namespace["waveforms"].shape == (1, 2, 8000)
    else:
        assert [source["label"] for source in namespace["sources"]] == ["source_0", "source_1"]


def test_every_file_the_readme_names_exists():
    for text in (README, (ROOT / "training" / "README.md").read_text(encoding="utf-8")):
        for name in re.findall(r"(?:training|tests)/[\w./-]+\.(?:py|yaml|md|csv|flac|png)", text):
            assert (ROOT / name).exists(), name


@pytest.mark.parametrize("name", list_checkpoints())
def test_every_shipped_checkpoint_has_a_card_with_its_own_results(name):
    own = [results for results in load_evaluations() if results["model"] == name]
    assert any(results["folder"].name == name for results in own)
    card = (CHECKPOINTS_DIR / name / "README.md").read_text(encoding="utf-8")
    assert format_results(own) in card
    assert "license: apache-2.0" in card


def test_the_readme_shows_all_results_and_the_project_the_card_of_its_default():
    assert format_results(load_evaluations()) in README
    card = (CHECKPOINTS_DIR / DEFAULT_CHECKPOINT / "README.md").read_text(encoding="utf-8")
    assert (ROOT / "model_card.md").read_text(encoding="utf-8") == card


@pytest.mark.parametrize("name", list_checkpoints())
def test_the_training_command_of_a_card_is_one(name):
    card = (CHECKPOINTS_DIR / name / "README.md").read_text(encoding="utf-8").replace("\\\n", " ")
    [words] = [line.split() for line in card.splitlines() if "run_training.py" in line]
    config, *overrides = words[words.index("training/run_training.py") + 1 :]
    arguments = load_arguments(ROOT / config, overrides)
    assert [speech.root for speech in arguments.speech] == ["LIBRISPEECH", "KOKORO"]
    assert arguments.valid.root == "LIBRISPEECH"
    assert f"{arguments.output_dir}/last --name {name}" in card


def results_of(name: str) -> dict:
    return read_results(RESULTS_DIR / name / "results.json")


def hash_weights(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


@pytest.mark.parametrize("name", list_checkpoints())
def test_results_are_of_the_weights_that_ship(name):
    results = results_of(name)
    assert results["weights"]["sha256"] == hash_weights(CHECKPOINTS_DIR / name)
    assert results["rows"]["model_practical"]["num_mixtures"] == 300
    # what ships must at least separate
    assert results["rows"]["model_practical"]["si_snri"] > 0


@pytest.mark.parametrize("folder", sorted((ROOT / "training" / "weights").glob("*/")), ids=lambda folder: folder.name)
def test_weights_that_runs_begin_with_are_those_of_their_results_and_better_ones_ship(folder):
    results = results_of(folder.name)
    assert results["weights"]["sha256"] == hash_weights(folder)
    shipped = [other for other in map(results_of, list_checkpoints()) if other["model_type"] == results["model_type"]]
    assert best_score(results) < min(map(best_score, shipped))


def test_the_weights_that_runs_begin_with_are_all_there_and_no_others():
    configs = [load_arguments(path, []) for path in (ROOT / "training" / "configs").glob("*.yaml")]
    named = {arguments.model["pretrained"] for arguments in configs if "pretrained" in arguments.model}
    folders = {str(path.relative_to(ROOT)) for path in (ROOT / "training" / "weights").glob("*/")}
    assert folders and named - set(list_checkpoints()) == folders
