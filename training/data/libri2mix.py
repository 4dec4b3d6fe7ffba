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
"""
The formats of LibriMix: its metadata csv, its tree of folders, its treatment of noise (arXiv 2005.11262 and its scripts).

A metadata row names two to five utterances, a gain for each, and a file of noise. A generated tree holds, for a split, one
folder for each source (s1, s2, ...), one for each type of mixture, and the noise.
"""

import re
from collections.abc import Iterable
from itertools import count, takewhile
from pathlib import Path, PurePosixPath

import numpy as np
from scipy.signal import resample_poly

from ..settings import SettingsError
from .audio import read_audio
from .rows import parse_number, parse_path, read_table


# the rate of LibriSpeech and of the noise, at which the length of the cross-fade is defined
ORIGINAL_RATE = 16000
# file names of LibriSpeech: speaker, chapter, number
UTTERANCE = re.compile(r"(\d+)-\d+-\d+")


def count_sources(row: Iterable[str]) -> int:
    """Number of sources of a metadata row."""
    return sum(key.startswith("source_") and key.endswith("_path") for key in row)


def source_numbers(row: Iterable[str], mix_type: str) -> range:
    """The sources of a metadata row in a type of mixture: all, or only the first for a single voice with noise."""
    return range(1, 2 if mix_type == "mix_single" else 1 + count_sources(row))


def utterance_id(path: Path) -> str:
    """The part of a mixture's name for an utterance: LibriSpeech's name, or else its path below the speech."""
    return path.stem if UTTERANCE.fullmatch(path.stem) else "-".join(path.with_suffix("").parts)


def speaker_of(path: str) -> str:
    """The speaker of an utterance: the first part of LibriSpeech's name, or else the first folder of the path."""
    name = UTTERANCE.fullmatch(PurePosixPath(path).stem)
    return name[1] if name else PurePosixPath(path).parts[0]


def speakers_of_mixture(mixture_id: str) -> list[str]:
    """The speakers of a generated mixture, from the utterances in its name; empty if they are not LibriSpeech's."""
    names = [UTTERANCE.fullmatch(part) for part in mixture_id.split("_")]
    return [name[1] for name in names] if all(names) else []


def read_metadata(
    path: str | Path, root: str | Path, num_sources: int | None, must_exist: bool = True
) -> dict[str, dict[str, str | float]]:
    """
    Rows of a LibriMix metadata csv by their places, checked, with their gains as numbers.

    Args:
        path (`str` or `Path`):
            The csv.
        root (`str` or `Path`):
            Root of its paths.
        num_sources (`int` or `None`):
            Number of sources of the model; `None` allows mixtures of any number.
        must_exist (`bool`, *optional*, defaults to `True`):
            Whether the listed files must exist.

    Raises:
        `SettingsError`: the csv has another format or number of sources, an invalid row, or lists a missing file.
    """
    table = read_table(path)
    columns = table.columns if table.lines else []
    needed = [
        f"source_{number}_{name}"
        for number in source_numbers(columns, "mix_clean") or (1,)
        for name in ("path", "gain")
    ]
    if missing := [name for name in ("mixture_ID", *needed) if name not in columns]:
        raise SettingsError(
            f"{path} is not a LibriMix metadata csv: it has no row, or lacks the columns {', '.join(missing)}."
        )
    if num_sources not in (None, found := count_sources(columns)):
        raise SettingsError(f"{path} lists mixtures of {found} sources, but the model has {num_sources}.")
    rows: dict[str, dict[str, str | float]] = {}
    seen = set()
    for place, row in table.rows():
        if row["mixture_ID"] in seen:
            raise SettingsError(f"{place}: `mixture_ID` ({row['mixture_ID']!r}) occurs twice: remove one row.")
        seen.add(row["mixture_ID"])
        parse_row(row, place, Path(root) if must_exist else None)
        rows[place] = row
    return rows


def parse_row(row: dict[str, str | float], place: str, root: Path | None) -> None:
    """Convert the gains of a metadata row to numbers, or raise a `SettingsError` that names the cell."""
    names = [f"source_{number}" for number in source_numbers(row, "mix_clean")]
    if row.get("noise_path"):
        names.append("noise")
    for name in names:
        # the root of the noise is not that of the speech
        parse_path(row, f"{name}_path", place, None if name == "noise" else root)
        row[f"{name}_gain"] = parse_number(row, f"{name}_gain", place)


def source_paths(row: dict[str, str | float], root: str | Path) -> list[Path]:
    """The files of all sources of a metadata row."""
    return [Path(root) / row[f"source_{number}_path"] for number in source_numbers(row, "mix_clean")]


def source_speaker(row: dict[str, str | float], number: int) -> str:
    """The speaker of a source of a metadata row, from its column or else from its path."""
    return row.get(f"source_{number}_speaker") or speaker_of(row[f"source_{number}_path"])


def tree_sources(folder: Path, mix_type: str) -> list[Path]:
    """
    The folders of a split of a generated tree with the sources of a type of mixture.

    Raises:
        `SettingsError`: the folder is not such a split.
    """
    if not (folder / mix_type).is_dir():
        found = sorted(path.name for path in folder.iterdir() if path.is_dir())
        raise SettingsError(
            f"{folder} has no folder {mix_type}: name a split of a generated Libri2Mix, such as wav16k/min/train-360. "
            f"It holds {', '.join(found) or 'no folder'}."
        )
    if mix_type == "mix_single":
        return [folder / "s1"]
    sources = list(takewhile(Path.is_dir, (folder / f"s{number}" for number in count(1))))
    if len(sources) < 2:
        raise SettingsError(f"{folder} must hold the sources in folders s1, s2 and so on.")
    return sources


def list_tree(folder: Path, mix_type: str) -> list[Path]:
    """The mixtures of a split of a generated tree, by name."""
    return sorted((folder / mix_type).glob("*.wav"))


def extend_noise(path: str, length: int, sampling_rate: int) -> np.ndarray:
    """
    The first channel of a noise file, `length` samples at 16 kHz, then resampled; shorter noise is repeated.

    At each repetition the end and the beginning cross-fade under a Hann window of half a second.
    """
    noise = read_audio(path, ORIGINAL_RATE, num_samples=length, channel=0)
    window = np.hanning(ORIGINAL_RATE + 1)
    rise, fall = window[: ORIGINAL_RATE // 2 + 1], window[ORIGINAL_RATE // 2 :]
    if len(noise) < length and len(noise) <= len(rise):
        raise SettingsError(f"{path} is not longer than half a second: it cannot be repeated over {length} samples.")
    extended = noise
    while len(extended) < length:
        seam = extended[-len(fall) :] * fall + noise[: len(rise)] * rise
        extended = np.concatenate([extended[: -len(fall)], seam, noise[len(rise) :]])
    return resample_poly(extended[:length], sampling_rate, ORIGINAL_RATE)
