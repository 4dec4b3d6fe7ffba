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
"""Files and folders that are never half there."""

import csv
import io
import os
from pathlib import Path


def write_atomically(path: Path, text: str) -> None:
    """Write a text file under a temporary name, then give it its own."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    sync(temporary)
    temporary.replace(path)


def write_csv(path: Path, rows: list[dict]) -> None:
    """Write a line per dictionary and a column per key; NaN and what a row lacks become empty cells."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=dict.fromkeys(key for row in rows for key in row), lineterminator="\n")
    writer.writeheader()
    # only NaN differs from itself
    writer.writerows({key: value if value == value else None for key, value in row.items()} for row in rows)
    write_atomically(path, text.getvalue())


def replace_folder(temporary: Path, folder: Path) -> None:
    """
    Give a complete folder its name, so that it is never absent or half there, even after a loss of power.

    A folder cannot take another's place in one step: where the name is taken, every file takes the place of the old one. So
    old and new must hold files of the same names, of which only one differs.
    """
    for path in temporary.iterdir():
        sync(path)
    sync(temporary)
    if folder.exists():
        for path in temporary.iterdir():
            path.replace(folder / path.name)
        temporary.rmdir()
        sync(folder)
    else:
        temporary.rename(folder)
    sync(folder.parent)


def sync(path: Path) -> None:
    """Wait until a file or the names in a folder are on the disk."""
    # Windows opens no folders
    if path.is_file() or os.name == "posix":
        descriptor = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
