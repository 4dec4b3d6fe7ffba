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
"""Files that are never half there."""

import csv
import io
from pathlib import Path


def write_atomically(path: Path, text: str) -> None:
    """Write a text file under a temporary name, then give it its own."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def write_csv(path: Path, rows: list[dict]) -> None:
    """Write a line per dictionary and a column per key; NaN and what a row lacks become empty cells."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=dict.fromkeys(key for row in rows for key in row), lineterminator="\n")
    writer.writeheader()
    # only NaN differs from itself
    writer.writerows({key: value if value == value else None for key, value in row.items()} for row in rows)
    write_atomically(path, text.getvalue())
