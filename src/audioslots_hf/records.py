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
"""Records of the files that the command wrote for a recording, so that a later run removes those it does not replace."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

from .files import write_text
from .jobs import OUTPUT_ENDING


FOLDER = ".audioslots"


def record_path(folder: Path, stem: str) -> Path:
    """Path of the record of a recording with the name `stem` whose tracks lie in `folder`."""
    return folder / FOLDER / f"{stem}.json"


def write_record(folder: Path, stem: str, paths: Iterable[Path]) -> None:
    """Record the written files of a recording, with their sizes and times."""
    path = record_path(folder, stem)
    path.parent.mkdir(exist_ok=True)
    write_text(path, json.dumps({"files": {written.name: _describe_file(written) for written in paths}}))


def remove_stale(folder: Path, stem: str, kept: Iterable[Path]) -> list[Path]:
    """
    Remove the outputs that an earlier run recorded, and that this run does not write, such as tracks of more people.

    A file that changed since, or that has no name of an output of this recording, stays.

    Args:
        folder (`Path`):
            Folder of the tracks.
        stem (`str`):
            Name of the recording, without suffix.
        kept (iterable of `Path`):
            Files that this run wrote.

    Returns:
        The removed files.
    """
    names = re.compile(re.escape(stem) + OUTPUT_ENDING)
    removed = []
    for name, state in _read_record(record_path(folder, stem)).items():
        path = folder / name
        is_ours = names.fullmatch(name) and path not in set(kept) and path.is_file() and not path.is_symlink()
        if is_ours and _describe_file(path) == state:
            # another run may remove it at the same time
            path.unlink(missing_ok=True)
            removed.append(path)
    record_path(folder, stem).unlink(missing_ok=True)
    return removed


def _describe_file(path: Path) -> list[int]:
    """Size in bytes and time of the last change in nanoseconds."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _read_record(path: Path) -> dict[str, list[int]]:
    """The files of a record; none if there is no record, or it is damaged."""
    try:
        files = json.loads(path.read_text(encoding="utf-8"))["files"]
        return {name: list(state) for name, state in files.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


__all__ = ["FOLDER", "record_path", "remove_stale", "write_record"]
