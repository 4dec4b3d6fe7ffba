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

import contextlib
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
    """Record the written files of a recording, with their sizes and times, beside those of an earlier run that are left."""
    path = record_path(folder, stem)
    _write_states(path, (_read_record(path) or {}) | {written.name: _describe_file(written) for written in paths})


def mark_unfinished(folder: Path, stem: str, tracks: Iterable[Path]) -> None:
    """Mark the tracks of a recording as those of a run that has further files to write."""
    _write_states(_unfinished_path(folder, stem), {track.name: _describe_file(track) for track in tracks})


def unmark_unfinished(folder: Path, stem: str) -> None:
    """Remove the mark of [`mark_unfinished`], and its folder if it holds nothing else: all files are written."""
    path = _unfinished_path(folder, stem)
    path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        path.parent.rmdir()


def is_unfinished(folder: Path, stem: str) -> bool:
    """Whether a run was stopped after the tracks of a recording and before its other files, and no track changed since."""
    states = _read_record(_unfinished_path(folder, stem))
    return bool(states) and all(
        (folder / name).is_file() and _describe_file(folder / name) == state for name, state in states.items()
    )


def is_without_people(folder: Path, stem: str) -> bool:
    """Whether a finished run recorded that nobody speaks in a recording: its record names no track."""
    states = _read_record(record_path(folder, stem))
    return states is not None and not any(re.search(r"_source_\d+\.\w+$", name) for name in states)


def _unfinished_path(folder: Path, stem: str) -> Path:
    """Path of the mark of a run that wrote the tracks of a recording, and is to write further files."""
    return folder / FOLDER / f"{stem}.unfinished"


def _write_states(path: Path, states: dict[str, list[int]]) -> None:
    text = json.dumps({"files": states})
    while True:
        path.parent.mkdir(exist_ok=True)
        # another run may remove the empty folder in between
        with contextlib.suppress(FileNotFoundError):
            write_text(path, text)
            return


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
    for name, state in (_read_record(record_path(folder, stem)) or {}).items():
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


def _read_record(path: Path) -> dict[str, list[int]] | None:
    """The files of a record; `None` if there is no record, or it is damaged."""
    try:
        files = json.loads(path.read_text(encoding="utf-8"))["files"]
        return {name: list(state) for name, state in files.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


__all__ = [
    "FOLDER",
    "is_unfinished",
    "is_without_people",
    "mark_unfinished",
    "record_path",
    "remove_stale",
    "unmark_unfinished",
    "write_record",
]
