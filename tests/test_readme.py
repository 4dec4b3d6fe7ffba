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
import csv
import hashlib
import re
from pathlib import Path

import pytest

from audioslots_hf.cards import load_facts
from audioslots_hf.shipped import CHECKPOINTS_DIR, DEFAULT_CHECKPOINT, list_checkpoints
from tests.pages import CODE, PAGES, ROOT
from training.reporting.cards import format_card, format_results_files
from training.reporting.featured import FEATURED, PUBLISHED, format_featured, format_limits
from training.reporting.results import RESULTS_DIR, load_evaluations, read_results


README = (ROOT / "README.md").read_text(encoding="utf-8")
HISTORY = (ROOT / "training" / "HISTORY.md").read_text(encoding="utf-8")
# A measurement: rates in hertz, years and versions are none.
MEASUREMENT = re.compile(
    r"(?<![\w.,])(\d[\d,]*(?:\.\d+)?)\s(?:dB|[KMG]i?B|GMACs?|ms|s|h|hours?|%|times|parameters)(?!\w)"
)
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def test_the_readme_is_short_and_every_page_is_linked_from_it():
    assert len(README.splitlines()) <= 150
    assert set(PAGES) - {"README.md"} == set(re.findall(r"\]\(docs/(.+?\.md)\)", README))


@pytest.mark.parametrize("name", PAGES)
def test_every_number_with_a_unit_stands_in_a_file_that_its_paragraph_links_or_is_generated(name):
    text = re.sub(r"<!-- (\w+):start -->.*?<!-- \1:end -->", "", PAGES[name].read_text("utf-8"), flags=re.DOTALL)
    for paragraph in CODE.sub("", text).split("\n\n"):
        linked = [PAGES[name].parent / link for link in LINK.findall(paragraph)]
        sources = "".join(path.read_text("utf-8") for path in linked if path.suffix in (".md", ".json"))
        for number in MEASUREMENT.findall(paragraph):
            assert re.search(rf"(?<![\d.,]){re.escape(number)}(?![\d]|[.,]\d)", sources), (number, paragraph)


def test_the_numbers_of_the_export_are_those_of_the_default_checkpoint():
    measured = (RESULTS_DIR / "benchmarks" / "export.md").read_text("utf-8")
    assert f"Checkpoint: `{DEFAULT_CHECKPOINT}`" in measured
    block = CODE.search(measured)[2]
    page = PAGES["export.md"].read_text("utf-8")
    [size] = re.findall(r"^size +(\S+) MiB", block, re.MULTILINE)
    factors = re.findall(r"^real-time factor, (\w+) +(\S+)", block, re.MULTILINE)
    assert f"an ONNX file of {size} MiB" in page and [name for name, _ in factors] == ["eager", "exported"]
    assert f"a real-time factor of {factors[1][1]}, against {factors[0][1]} in PyTorch" in " ".join(page.split())


def test_every_file_the_pages_name_exists():
    for path in [*PAGES.values(), ROOT / "training" / "README.md"]:
        text = path.read_text("utf-8")
        for link in LINK.findall(text):
            assert (path.parent / link).exists(), (path, link)
        for name in re.findall(r"(?:training|tests|docs)/[\w./-]+\.(?:py|yaml|md|csv|flac|png)", text):
            assert (ROOT / name).exists(), (path, name)


def test_the_readme_shows_exactly_the_featured_rows_and_the_limits_that_results_show():
    parts = dict(re.findall(r"<!-- (\w+):start -->\n(.*?)<!-- \1:end -->", README, re.DOTALL))
    evaluations = load_evaluations()
    assert parts == {"results": format_featured(evaluations), "limits": format_limits(evaluations)}
    rows = [line for line in parts["results"].splitlines() if line.startswith("|")][2:]
    assert len(rows) == len(FEATURED) + len(PUBLISHED["models"]) <= 8


def test_the_default_is_marked_in_the_table_of_the_readme():
    [row] = [line for line in README.splitlines() if "the default**" in line]
    assert f"`{DEFAULT_CHECKPOINT}`" in row


@pytest.mark.parametrize("name", list_checkpoints())
def test_the_card_of_a_checkpoint_is_made_of_its_facts_and_results(name):
    folder = CHECKPOINTS_DIR / name
    for file, text in format_results_files(name, load_evaluations()).items():
        assert (folder / file).read_text(encoding="utf-8") == text
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert card == format_card(folder)
    assert "license: apache-2.0" in card
    opening = card.split("\n# ")[1].split("## ")[0]
    # its use comes first, and its training later
    assert opening.index("**Intended use**") < opening.index("**Out of scope**") < opening.index("```python")
    assert "hours" not in opening


@pytest.mark.parametrize("name", list_checkpoints())
def test_the_amounts_of_speech_in_a_card_are_those_of_the_lists(name):
    real, synthetic, *_ = (entry["note"] for entry in load_facts(CHECKPOINTS_DIR / name).data)
    speakers, hours = measure_speech("librispeech_train.csv")
    assert f"one utterance of each of {speakers} speakers ({60 * hours:.0f} min)" in real
    voices, hours = measure_speech("kokoro_train.csv")
    assert f"{hours:.1f} h read by {voices} voices" in synthetic
    blends, hours = measure_speech("kokoro_blends.csv")
    assert ("blends" in synthetic) == (f"{hours:.1f} h read by {blends:,} blends" in synthetic)


def measure_speech(name: str) -> tuple[int, float]:
    """The number of speakers and the hours of a list of training speech."""
    with open(ROOT / "training" / "metadata" / name, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    # the lists count samples at 16 kHz
    return len({row["speaker"] for row in rows}), sum(int(row["num_samples"]) for row in rows) / 16000 / 3600


def test_a_checkpoint_without_results_has_no_card():
    with pytest.raises(ValueError, match=f"{DEFAULT_CHECKPOINT} has no results"):
        format_results_files(DEFAULT_CHECKPOINT, [])


def test_the_project_has_the_card_of_its_default():
    card = (CHECKPOINTS_DIR / DEFAULT_CHECKPOINT / "README.md").read_text(encoding="utf-8")
    assert (ROOT / "model_card.md").read_text(encoding="utf-8") == card


@pytest.mark.parametrize("name", list_checkpoints())
def test_the_commit_of_a_card_is_that_of_the_history(name):
    card = (CHECKPOINTS_DIR / name / "README.md").read_text(encoding="utf-8").replace("\\\n", " ")
    [command] = [line for line in card.splitlines() if "run_training.py" in line]
    [commit] = re.findall(r"git checkout ([0-9a-f]{7,40})\n", card)
    [run] = re.findall(r"^Revision \d+, the run `([\w-]+)` of ", card, re.MULTILINE)
    [row] = [line for line in HISTORY.splitlines() if line.startswith(f"| `{run}` |")]
    assert f"ships as `{name}`" in row
    assert row.endswith(f"| {commit} |") and f"`{commit}:training/weights/" in row
    # the last step of a run may be a mean of weights
    assert f" training/configs/{run.removesuffix('-average')}.yaml " in command
    assert f"runs/{run}/last --name {name}" in card


def test_the_history_names_the_start_of_every_run_that_goes_on_from_another():
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in HISTORY.splitlines() if line.startswith("| `")
    ]
    names = {row[0].strip("`") for row in rows}
    starts = [
        re.fullmatch(
            r"`[0-9a-f]{7}:(?:training/weights|src/audioslots_hf/checkpoints)/(.+)/model\.safetensors`", row[2]
        )
        for row in rows
    ]
    assert all(row[2] == "scratch" or start for row, start in zip(rows, starts, strict=True))
    assert {start[1] for start in starts if start} <= names and len(rows) == len(names)


def results_of(name: str) -> dict:
    return read_results(RESULTS_DIR / name / "results.json")


def hash_weights(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


@pytest.mark.parametrize("name", list_checkpoints())
def test_results_are_of_the_weights_that_ship(name):
    results = results_of(name)
    assert results["weights"]["sha256"] == hash_weights(CHECKPOINTS_DIR / name)
    assert results["rows"]["model_order_by_tracker"]["num_mixtures"] == 300
    # a shipped checkpoint must at least separate
    assert results["rows"]["model_order_by_tracker"]["si_snri"] > 0


def test_results_are_one_small_file_for_each_published_row():
    folders = [path for path in RESULTS_DIR.iterdir() if path.is_dir() and path.name != "benchmarks"]
    for folder in folders:
        [path] = folder.iterdir()
        assert path.name == "results.json" and path.stat().st_size < 20_000
