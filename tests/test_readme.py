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

from audioslots_hf.loading import CHECKPOINTS_DIR, DEFAULT_CHECKPOINT, list_checkpoints
from training.reporting.featured import FEATURED, PUBLISHED, format_featured
from training.reporting.results import RESULTS_DIR, load_evaluations, read_results
from training.reporting.tables import format_results


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


def test_the_readme_shows_exactly_the_featured_rows():
    [table] = re.findall(r"<!-- results:start -->\n(.*?)<!-- results:end -->", README, re.DOTALL)
    assert table == format_featured(load_evaluations())
    rows = table.splitlines()[2:]
    assert len(rows) == len(FEATURED) + len(PUBLISHED["models"]) <= 8


def test_the_default_is_marked_in_the_table_of_the_readme():
    [row] = [line for line in README.splitlines() if "the default**" in line]
    assert f"`{DEFAULT_CHECKPOINT}`" in row


def test_the_project_has_the_card_of_its_default():
    card = (CHECKPOINTS_DIR / DEFAULT_CHECKPOINT / "README.md").read_text(encoding="utf-8")
    assert (ROOT / "model_card.md").read_text(encoding="utf-8") == card


HISTORY = (ROOT / "training" / "HISTORY.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", list_checkpoints())
def test_the_commit_of_a_card_is_that_of_the_history(name):
    card = (CHECKPOINTS_DIR / name / "README.md").read_text(encoding="utf-8").replace("\\\n", " ")
    [command] = [line for line in card.splitlines() if "run_training.py" in line]
    [commit] = re.findall(r"git checkout ([0-9a-f]{7,40})\n", card)
    [row] = [line for line in HISTORY.splitlines() if line.startswith(f"| `{name}` |")]
    assert row.endswith(f"| {commit} |") and f"`{commit}:training/weights/" in row
    assert f" training/configs/{name}.yaml " in command
    assert f"runs/{name}/last --name {name}" in card


def test_the_history_names_the_start_of_every_run_that_goes_on_from_another():
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in HISTORY.splitlines() if line.startswith("| `")
    ]
    names = {row[0].strip("`") for row in rows}
    starts = [re.fullmatch(r"`[0-9a-f]{7}:training/weights/(.+)/model\.safetensors`", row[2]) for row in rows]
    assert all(row[2] == "scratch" or start for row, start in zip(rows, starts, strict=True))
    assert {start[1] for start in starts if start} <= names and len(rows) == len(names)
    assert set(list_checkpoints()) <= names


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


def test_results_are_one_small_file_for_each_published_row():
    folders = [path for path in RESULTS_DIR.iterdir() if path.is_dir() and path.name != "benchmarks"]
    for folder in folders:
        [path] = folder.iterdir()
        assert path.name == "results.json" and path.stat().st_size < 20_000
