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
from pathlib import Path

from ..settings import SettingsError


def read_rows(path: str | Path) -> list[dict[str, str]]:
    """
    The rows of a csv with a header, in UTF-8 with or without the byte order mark of Excel.

    Raises:
        `SettingsError`: the file has another encoding.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            return list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise SettingsError(f"{path} cannot be read: save it as csv in UTF-8 ({error})") from error


def place_rows(path: str | Path, rows: list[dict]) -> Iterator[tuple[str, dict]]:
    """
    Rows with their positions, numbered as in a spreadsheet, with the header as the first.

    Raises:
        `SettingsError`: a row has fewer or more cells than the header.
    """
    for number, row in enumerate(rows, start=2):
        place = f"{path}, row {number}"
        if None in row or None in row.values():
            raise SettingsError(f"{place} has fewer or more cells than the header: correct it.")
        yield place, row


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
