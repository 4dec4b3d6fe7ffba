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
"""Results become part of the README and of the cards of the checkpoints that ship."""

import re
import shutil
from pathlib import Path

from audioslots_hf.files import write_text
from audioslots_hf.loading import CHECKPOINTS_DIR, DEFAULT_CHECKPOINT, list_checkpoints

from .featured import format_featured
from .results import ROOT
from .tables import format_results


RESULTS_MARKS = "<!-- results:start -->\n<!-- results:end -->\n"
RESULTS_BLOCK = re.compile(r"(<!-- results:start -->\n).*?(<!-- results:end -->)", re.DOTALL)


def write_cards(evaluations: list[dict]) -> None:
    """Write the featured rows into the README, and each checkpoint's results into its card."""
    insert_results(ROOT / "README.md", format_featured(evaluations))
    for name in list_checkpoints():
        own = [results for results in evaluations if results["model"] == name]
        insert_results(CHECKPOINTS_DIR / name / "README.md", format_results(own))
    shutil.copy(CHECKPOINTS_DIR / DEFAULT_CHECKPOINT / "README.md", ROOT / "model_card.md")


def insert_results(path: Path, table: str) -> None:
    """
    Replace what stands between the result marks of a Markdown file.

    Raises:
        `ValueError`: the file has no such marks.
    """
    text = path.read_text(encoding="utf-8")
    if not RESULTS_BLOCK.search(text):
        raise ValueError(f"{path} has no `<!-- results:start -->` and `<!-- results:end -->` to write between.")
    write_text(path, RESULTS_BLOCK.sub(lambda match: f"{match[1]}{table}{match[2]}", text))
