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
"""Layouts of folders of separated files: the recording and the source of each file."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from .suffixes import AUDIO_SUFFIXES


# recording -> source -> file
Sources = dict[str, dict[str, Path]]

SOURCE_NAME = r"(?:(?:source|src|speaker|spk|estimate|est|s)_?)?\d+"
SOURCE_FOLDER = re.compile(r"(?:source|src|speaker|spk|estimate|est|s)_?\d+", re.IGNORECASE)
# the shortest recording: `a_source_0` is source_0 of a, not 0 of a_source
SOURCE_FILE = re.compile(rf"(.+?)_({SOURCE_NAME})", re.IGNORECASE)
MIXTURE_NAMES = ("mix", "mixture")
LAYOUTS = "NAME_source_0.wav (or NAME_s1.wav, NAME_1.wav, ...), s1/NAME.wav, or NAME/anything.wav"


def _list_audio(folder: Path) -> list[Path]:
    """The audio files of a folder, by name; hidden ones are left out."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file() and not path.name.startswith(".")
    )


def walk_files(folder: Path, suffixes: tuple[str, ...] | None = None) -> list[Path]:
    """
    The files in a folder and its subfolders by name, all or those with a suffix; follows links, except to parents, and visits each folder once.

    Hidden files are left out, such as metadata of other systems, or samples of a killed run.
    """
    files, seen, root = [], set(), os.path.realpath(folder)
    for parent, folders, names in os.walk(folder, followlinks=True):
        place = os.path.realpath(parent)
        if place in seen or root.startswith(os.path.join(place, "")):
            # a link may point to a parent folder, which was not named
            folders.clear()
            continue
        seen.add(place)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = (Path(parent, name) for name in names if not name.startswith("."))
        named = (path for path in paths if suffixes is None or path.suffix.lower() in suffixes)
        files += [path for path in named if path.is_file()]
    return sorted(files)


def find_sources(folder: Path, problems: list[str]) -> Sources:
    """
    Read a folder in one of three layouts.

    * Files `NAME_LABEL`, where the label is a number, alone or after one of `source`, `src`, `speaker`, `spk`, `estimate`, `est` and
      `s`. A file `NAME` beside them is their mixture, not a source.
    * Folders named after a label with a word (`s1`, `spk2`), each with a file `NAME` per recording, as in LibriMix. Other files and
      folders beside them are not sources.
    * One folder `NAME` per recording. A file called `mix` or `mixture` in it is not a source.

    Args:
        folder (`Path`):
            Folder to read.
        problems (`list` of `str`):
            Receives a message for each file with a fault.

    Returns:
        `dict` of recordings to `dict` of sources to files, sources in the order of their numbers.

    Raises:
        `ValueError`: the folder does not exist, contains no audio, or contains audio both in subfolders and beside them.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder.")
    folders = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    of_sources = [path for path in folders if SOURCE_FOLDER.fullmatch(path.name)]
    files = _list_audio(folder)
    of_recordings = [path for path in folders if _list_audio(path)]
    if files and of_recordings:
        raise ValueError(
            f"{folder} holds audio both directly ({files[0].name}) and in folders ({of_recordings[0].name}): name one that "
            f"holds only {LAYOUTS}."
        )
    if files:
        found = _read_flat(files, problems)
    elif of_sources:
        found = ((path.stem, source.name, path) for source in of_sources for path in _list_audio(source))
    else:
        found = (
            (recording.name, path.stem, path)
            for recording in of_recordings
            for path in _list_audio(recording)
            if path.stem.lower() not in MIXTURE_NAMES
        )
    sources = _collect_sources(found, problems)
    if not sources and not problems:
        raise ValueError(f"{folder} holds no audio named {LAYOUTS}.")
    return sources


def _read_flat(files: list[Path], problems: list[str]) -> Iterator[tuple[str, str, Path]]:
    """Files `NAME_LABEL` of one folder -> recording, source and file."""
    matches = {path: SOURCE_FILE.fullmatch(path.stem) for path in files}
    recordings = {match[1] for match in matches.values() if match}
    # the mixtures of take_1 and take_2 have names of sources of take
    of_mixtures = recordings - {match[1] for path, match in matches.items() if match and path.stem not in recordings}
    for path, match in matches.items():
        if match and match[1] not in of_mixtures:
            yield match[1], match[2], path
        elif path.stem not in recordings:
            problems.append(f"{path} is not named like {LAYOUTS}")


def _collect_sources(found: Iterator[tuple[str, str, Path]], problems: list[str]) -> Sources:
    """Sort the found files by recording and source."""
    sources: Sources = {}
    for recording, source, path in found:
        files = sources.setdefault(recording, {})
        if source in files:
            problems.append(f"{files[source]} and {path} are the same source: remove one")
        files[source] = path
    return {
        recording: dict(sorted(files.items(), key=lambda item: _natural_key(item[0])))
        for recording, files in sorted(sources.items())
    }


def _natural_key(name: str) -> list[tuple[int, str]]:
    """Sort key that puts `s2` before `s10`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def find_mixtures(folder: Path, recordings: list[str], problems: list[str]) -> dict[str, Path]:
    """The file `NAME` of each recording; other files are ignored."""
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder.")
    mixtures: dict[str, Path] = {}
    for path in _list_audio(folder):
        if path.stem in mixtures and path.stem in recordings:
            problems.append(f"{mixtures[path.stem]} and {path} are the same mixture: remove one")
        mixtures[path.stem] = path
    return mixtures


__all__ = [
    "LAYOUTS",
    "MIXTURE_NAMES",
    "SOURCE_FILE",
    "SOURCE_FOLDER",
    "SOURCE_NAME",
    "Sources",
    "find_mixtures",
    "find_sources",
    "walk_files",
]
