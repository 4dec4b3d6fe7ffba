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
"""Rows of a csv, as written by people and spreadsheets."""

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..settings import SettingsError


@dataclass
class Table:
    """A csv with a header: the names of its columns, and the cells of its rows with their numbers in a spreadsheet."""

    path: str | Path
    columns: list[str]
    lines: list[tuple[int, list[str]]]

    def rows(self) -> Iterator[tuple[str, dict[str, str]]]:
        """
        Rows with their places: the file, and the number of the row with the header as the first.

        Raises:
            `SettingsError`: a row is empty, or has fewer or more cells than the header.
        """
        for number, cells in self.lines:
            place = f"{self.path}, row {number}"
            if not any(cell.strip() for cell in cells):
                raise SettingsError(f"{place} is empty: remove it.")
            if len(cells) != len(self.columns):
                raise SettingsError(f"{place} has fewer or more cells than the header: correct it.")
            yield place, dict(zip(self.columns, cells, strict=True))


def read_table(path: str | Path) -> Table:
    """
    A csv with a header, in UTF-8 with or without the byte order mark of Excel. Lines without a cell are left out.

    Raises:
        `SettingsError`: the file has another encoding, or a column occurs twice.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            lines = [(number, cells) for number, cells in enumerate(csv.reader(file), start=1) if cells]
    except (UnicodeDecodeError, csv.Error) as error:
        raise SettingsError(f"{path} cannot be read: save it as csv in UTF-8 ({error})") from error
    columns = lines[0][1] if lines else []
    if twice := [name for name in columns if name and columns.count(name) > 1]:
        raise SettingsError(f"{path} has two columns {twice[0]!r}: rename one.")
    return Table(path, columns, lines[1:])


def parse_number(row: dict[str, str], column: str, place: str) -> float:
    """
    The number in a cell.

    Raises:
        `SettingsError`: the cell is not a finite number; the message starts with `place`.
    """
    try:
        number = float(row.get(column, ""))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise SettingsError(f"{place}: `{column}` ({row.get(column, '')!r}) must be a finite number.")
    return number


def parse_path(row: dict[str, str], column: str, place: str, root: Path | None) -> str:
    """
    The path of a file in a cell.

    Args:
        row (`dict`), column (`str`):
            The cell.
        place (`str`):
            Place of the row, for messages.
        root (`Path` or `None`):
            Folder of the path; `None` if the file need not exist.

    Raises:
        `SettingsError`: the cell is empty, holds a path of Windows, or there is no such file.
    """
    path = row[column]
    if not path.strip():
        raise SettingsError(f"{place}: `{column}` is empty.")
    if root is not None and _is_file(root / path):
        return path
    if "\\" in path:
        raise SettingsError(f"{place}: `{column}` ({path!r}) has backslashes: write / between folders.")
    if root is not None:
        raise SettingsError(f"{place}: `{column}` ({path!r}) is no file below {root}.")
    return path


def _is_file(path: Path) -> bool:
    """Whether a path leads to a file; a null character or an endless name leads nowhere."""
    try:
        return path.is_file()
    except (ValueError, OSError):
        return False
