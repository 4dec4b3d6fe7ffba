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

import re
import shutil
from pathlib import Path

from transformers import AutoConfig

from audioslots_hf.card_results import CONVERSATIONS_NAME, RESULTS_NAME, check_weights, compact
from audioslots_hf.cards import make_card
from audioslots_hf.families import FAMILIES
from audioslots_hf.files import write_text
from audioslots_hf.model_files import build_skeleton
from audioslots_hf.publishing import hash_weights
from audioslots_hf.shipped import DEFAULT_CHECKPOINT

from .conversations import format_tables, read_conversations
from .featured import format_featured, format_limits
from .results import RESULTS_DIR, ROOT, format_json, group_by_conditions


# of this repository: an installed package stays as it is
CHECKPOINTS_DIR = ROOT / "src" / "audioslots_hf" / "checkpoints"
CONVERSATIONS = RESULTS_DIR / "benchmarks" / CONVERSATIONS_NAME
CONVERSATIONS_PAGE = RESULTS_DIR / "benchmarks" / "conversations.md"


def write_cards(evaluations: list[dict]) -> None:
    """
    Write the generated parts of the README and of the page of conversations, the results and the card of each shipped
    checkpoint, and the project's card.
    """
    for options, table in format_tables(read_conversations(CONVERSATIONS)).items():
        insert_part(CONVERSATIONS_PAGE, name_part(options), table)
    for folder in sorted(path.parent for path in CHECKPOINTS_DIR.glob("*/config.json")):
        for name, text in format_results_files(folder.name, evaluations).items():
            write_text(folder / name, text)
        write_text(folder / "README.md", format_card(folder))
    shutil.copy(CHECKPOINTS_DIR / DEFAULT_CHECKPOINT / "README.md", ROOT / "model_card.md")
    # they have scores of the files that were written above
    insert_part(ROOT / "README.md", "results", format_featured(evaluations))
    insert_part(ROOT / "README.md", "limits", format_limits(evaluations))


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


def name_part(options: str) -> str:
    """The mark of the table of conversations with these options; two hyphens may not stand in a comment."""
    return options.replace("--", "")


def format_results_files(name: str, evaluations: list[dict]) -> dict[str, str]:
    """
    The results files beside a shipped checkpoint: the means of each test set, and the conversations of the benchmark.

    Raises:
        `ValueError`: there are no results of the checkpoint.
    """
    own = [results for results in evaluations if results["model"] == name]
    if not own:
        raise ValueError(f"The checkpoint {name} has no results: evaluate it, because its card needs them.")
    ordered = [compact(results) for [results] in group_by_conditions(own).values()]
    files = {RESULTS_NAME: format_json(ordered)}
    if conversations := [result for result in read_conversations(CONVERSATIONS) if result["model"] == name]:
        files[CONVERSATIONS_NAME] = format_json(conversations)
    return files


def format_card(folder: Path) -> str:
    """
    The card of a shipped checkpoint, from the facts and the results in its folder.

    Raises:
        `ValueError`: facts or results are missing, or the results are of other weights.
    """
    config = AutoConfig.from_pretrained(folder)
    sha256 = hash_weights(folder)
    check_weights(folder, sha256)
    return (
        f"{make_card(folder, folder.name, build_skeleton(FAMILIES[config.model_type].model_class, config), sha256)}\n"
    )
