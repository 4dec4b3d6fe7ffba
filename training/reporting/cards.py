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
"""Writes results into the README and the cards of the shipped checkpoints."""

import csv
import re
import shutil
from pathlib import Path
from string import Template

from audioslots_hf.files import write_text
from audioslots_hf.shipped import CHECKPOINTS_DIR, DEFAULT_CHECKPOINT, list_checkpoints

from .featured import format_featured, format_limits
from .results import ROOT, group_by_conditions
from .tables import PROTOCOLS, format_table


TEMPLATES_DIR = Path(__file__).parent / "templates"
METADATA_DIR = ROOT / "training" / "metadata"
# Sampling rate of `num_samples` in the lists of training speech.
LISTED_RATE = 16000


def write_cards(evaluations: list[dict]) -> None:
    """Write the generated parts of the README, the card of each shipped checkpoint, and the project's card."""
    insert_part(ROOT / "README.md", "results", format_featured(evaluations))
    insert_part(ROOT / "README.md", "limits", format_limits(evaluations))
    for name in list_checkpoints():
        write_text(CHECKPOINTS_DIR / name / "README.md", format_card(name, evaluations))
    shutil.copy(CHECKPOINTS_DIR / DEFAULT_CHECKPOINT / "README.md", ROOT / "model_card.md")


def insert_part(path: Path, name: str, text: str) -> None:
    """
    Replace the text between the marks of a generated part of a Markdown file.

    Raises:
        `ValueError`: the file has no such marks.
    """
    page = path.read_text(encoding="utf-8")
    start, end = f"<!-- {name}:start -->\n", f"<!-- {name}:end -->"
    if not re.search(f"{start}.*{end}", page, re.DOTALL):
        raise ValueError(f"{path} lacks the marks `<!-- {name}:start -->` and `<!-- {name}:end -->`: add them.")
    before, rest = page.split(start, 1)
    write_text(path, f"{before}{start}{text}{end}{rest.split(end, 1)[1]}")


def format_card(name: str, evaluations: list[dict]) -> str:
    """
    The card of a checkpoint: its template, with the numbers of its results.

    Raises:
        `ValueError`: there is no template, or no results of the checkpoint.
    """
    template = TEMPLATES_DIR / f"{name}.md"
    own = [results for results in evaluations if results["model"] == name]
    if not template.is_file() or not own:
        missing = "results: evaluate it" if template.is_file() else f"template: write {template}"
        raise ValueError(f"The checkpoint {name} has no {missing}, which its card needs.")
    values = {"results": format_test_sets(own), "sha256": own[0]["weights"]["sha256"]}
    values["parameters"] = f"{own[0]['weights']['num_parameters']:,}"
    values["real_speakers"], hours = measure_speech(METADATA_DIR / "librispeech_train.csv")
    values["real_minutes"] = f"{60 * hours:.0f}"
    values["synthetic_voices"], hours = measure_speech(METADATA_DIR / "kokoro_train.csv")
    values["synthetic_hours"] = f"{hours:.1f}"
    return Template(template.read_text(encoding="utf-8")).substitute(values)


def measure_speech(path: Path) -> tuple[int, float]:
    """The number of speakers and the hours of a list of training speech."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    num_samples = sum(int(row["num_samples"]) for row in rows)
    return len({row["speaker"] for row in rows}), num_samples / LISTED_RATE / 3600


def format_test_sets(own: list[dict]) -> str:
    """The results of one checkpoint, a row for each test set, with the standard error over its mixtures."""
    rows = []
    for conditions, [results] in group_by_conditions(own).items():
        means = results["rows"]
        scores = [
            f"{means[row]['si_snri']:.2f} ± {means[row]['standard_error']:.2f}"
            for row in ("model_order_by_tracker", "model_order_by_references")
        ]
        oracle = f"{means['oracle_order_by_tracker']['si_snri']:.2f}" if "oracle_order_by_tracker" in means else "–"
        rows.append([f"`{conditions.metadata}`, {conditions.mode}", str(conditions.num_mixtures), *scores, oracle])
    return format_table(["test set", "mixtures", *PROTOCOLS.values(), "oracle"], rows)
