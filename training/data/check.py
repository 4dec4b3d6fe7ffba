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
Check a folder of audio: its kind, its broken files, and the lines of a training yaml that read it.

Supported are a folder of speech by speaker, the root of LibriSpeech, and a generated Libri2Mix (its root or a split). A
LibriMix metadata csv and a folder written by `save_to_disk` of the datasets library are supported too.
"""

import math
import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from datasets import DatasetDict, load_from_disk
from tqdm.auto import tqdm

from audioslots_hf.layouts import walk_files
from audioslots_hf.recordings import load_recording
from audioslots_hf.suffixes import AUDIO_SUFFIXES

from ..arguments import MIX_TYPES, MixtureArguments
from ..settings import SettingsError
from .audio import AudioError, Header, explain, read_header
from .libri2mix import list_tree, read_metadata, source_numbers, source_paths, source_speaker, tree_sources
from .loudness import audible_lufs
from .mixtures import holds_files, is_saved_dataset, open_dataset, row_headers
from .rows import read_table
from .speech import list_speech


# number of printed faults of each kind
MAX_SHOWN = 5
# shorter speech is of little use: LibriMix excludes speech below 3 s
SHORT_S = 1.0
# a file with a speaker's name is not audio
SOURCE_COLUMN = re.compile(r"(?:source|src|s)_?\d+(?:_path|_audio)?", re.IGNORECASE)
MIXTURE_COLUMN = re.compile(r"(?:mixture|mix)(?:_path|_audio)?", re.IGNORECASE)
# sets of mixtures are written by programs, and may have hundreds of GB
HEADERS_ONLY = "headers only, the audio was not decoded"


@dataclass
class Finding:
    """The findings at a path."""

    kind: str
    facts: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    # lines of a yaml that read it; empty if it cannot be used unchanged
    yaml: str = ""
    # missing parts that are needed to use all of it
    missing: str = ""

    @property
    def is_good(self) -> bool:
        """Whether all of the data can be used."""
        return bool(self.yaml) and not self.faults and not self.missing

    def __str__(self) -> str:
        lines = [self.kind, *(f"  {name:<12}{value}" for name, value in self.facts.items())]
        lines += [f"  broken      {fault}" for fault in self.faults[:MAX_SHOWN]]
        if len(self.faults) > MAX_SHOWN:
            lines.append(f"  broken      and {len(self.faults) - MAX_SHOWN} more")
        if self.missing:
            lines.append(f"  missing     {self.missing}")
        if self.yaml:
            lines += ["  read it with", *(f"    {line}" for line in self.yaml.splitlines())]
        return "\n".join(lines)


def check(path: Path) -> list[Finding]:
    """
    Determine the content of a path.

    Raises:
        `SettingsError`: the path does not exist.
    """
    if not path.exists():
        raise SettingsError(f"{path} does not exist.")
    if path.is_file():
        return [check_list(path)]
    if is_saved_dataset(path):
        return [check_dataset(path)]
    if splits := find_splits(path):
        return [check_tree(split) for split in splits]
    subsets = [folder for folder in sorted(path.iterdir()) if is_librispeech_subset(folder)]
    return [check_speech(folder) for folder in subsets or [path]]


def find_splits(path: Path) -> list[Path]:
    """The splits of a generated Libri2Mix at or below a path, at most four levels down."""
    for depth in ("", "*/", "*/*/", "*/*/*/", "*/*/*/*/"):
        found = {folder.parent for name in MIX_TYPES for folder in path.glob(f"{depth}{name}") if folder.is_dir()}
        if found:
            return sorted(found)
    return []


def is_librispeech_subset(folder: Path) -> bool:
    """Whether a folder is a subset of LibriSpeech, such as train-clean-100, with numbered speakers and chapters."""
    return folder.is_dir() and any(
        path.name.isdigit() and path.parent.name.isdigit() for path in folder.glob("*/*") if path.is_dir()
    )


def check_speech(folder: Path, utterances: Path | None = None) -> Finding:
    """Check a folder of speech by speaker, or the files of it that a csv lists."""
    finding = Finding(f"speech: {utterances or folder}")
    try:
        files = list_speech(folder, utterances)
    except SettingsError as error:
        finding.missing = str(error)
        return finding
    if not files:
        finding.missing = "audio: there is no file that ends in .wav, .flac, .mp3, .m4a and so on"
        return finding
    speakers, headers = Counter(), []
    for file in tqdm(files, desc=f"Listening to {folder}", unit="file"):
        try:
            headers.append(listen(file.path))
            speakers[file.speaker] += 1
        except AudioError as error:
            finding.faults.append(str(error) if file.place is None else f"{file.place}: {error}")
    finding.facts = {
        "speakers": describe_speakers(speakers),
        "files": str(len(headers)),
        **describe_audio(headers, headers),
    }
    if utterances is None and (left_out := count_others(folder)):
        finding.facts["left out"] = f"{left_out}, which are no names of audio files"
    if len(speakers) < 2:
        finding.missing = "a second speaker: one folder below this one holds one speaker"
    else:
        finding.yaml = f"speech:\n  - root: {as_yaml(folder)}"
        finding.yaml += "" if utterances is None else f"\n    utterances: {as_yaml(utterances)}"
    return finding


def count_others(folder: Path) -> str:
    """The files of a folder that are not taken for audio, by suffix: `3 .txt, 1 .pdf`."""
    suffixes = (path.suffix.lower() or path.name for path in walk_files(folder))
    counts = Counter(suffix for suffix in suffixes if suffix not in AUDIO_SUFFIXES)
    listed = [f"{count} {suffix}" for suffix, count in counts.most_common(MAX_SHOWN)]
    return ", ".join([*listed, "..."] if len(counts) > MAX_SHOWN else listed)


def as_yaml(text: object) -> str:
    """A string in yaml, quoted only if yaml would read it as another value."""
    return yaml.safe_dump([str(text)], default_flow_style=True, allow_unicode=True, width=math.inf).strip()[1:-1]


def listen(path: Path) -> Header:
    """
    Decode a file of speech, as at the start of a run.

    Raises:
        `AudioError`: a run would reject the file, or it is too short or truncated.
    """
    header = read_header(path)
    if header.duration_s < SHORT_S:
        raise AudioError(f"{path}: only {header.duration_s:.2f} s long")
    # by the reader of `audioslots separate`, which decodes to the end
    try:
        recording = load_recording(path, header.sampling_rate)
    except ValueError as error:
        raise AudioError(explain(path, error)) from error
    num_samples = recording.waveforms.shape[1]
    if header.num_samples != num_samples:
        raise AudioError(
            f"{path} contains {num_samples} samples, but a run reads {header.num_samples}: convert it to flac."
        )
    audible_lufs(path, recording.waveforms.mean(dim=0).numpy(), header.sampling_rate)
    return header


def describe_speakers(speakers: Counter) -> str:
    """Number of speakers, and of files per speaker."""
    counts = speakers.values()
    return f"{len(speakers)}, with {min(counts, default=0)} to {max(counts, default=0)} files each"


def describe_audio(recordings: Iterable[Header], files: Iterable[Header]) -> dict[str, str]:
    """Total hours of the recordings, and the number of files with each sampling rate."""
    rates = Counter(file.sampling_rate for file in files)
    return {
        "hours": f"{sum(recording.duration_s for recording in recordings) / 3600:.2f}",
        "rates": ", ".join(f"{rate} Hz ({count} files)" for rate, count in rates.most_common()),
    }


def shortest(headers: Iterable[Header]) -> Header:
    """The shortest file, which determines the length of a mixture."""
    return min(headers, key=lambda header: header.duration_s)


def read_headers(files: Iterable[Path], finding: Finding, places: dict[Path, str] | None = None) -> dict[Path, Header]:
    """The header of every file; missing, broken and empty files are recorded as faults, with their places in a list."""
    headers = {}
    for file in tqdm(dict.fromkeys(files), desc=f"Checking {finding.kind}", unit="file"):
        try:
            header = read_header(file)
        except AudioError as error:
            finding.faults.append(f"{places[file]}: {error}" if places else str(error))
        else:
            headers[file] = header
    return headers


def check_tree(split: Path) -> Finding:
    """Check one split of a generated Libri2Mix."""
    finding = Finding(f"generated mixtures: {split}")
    mixtures = {name: list_tree(split, name) for name in MIX_TYPES if (split / name).is_dir()}
    pairs = []
    for name, paths in mixtures.items():
        try:
            pairs += [(path, source / path.name) for source in tree_sources(split, name) for path in paths]
        except SettingsError as error:
            finding.missing = str(error)
    headers = read_headers((file for pair in pairs for file in pair), finding)
    for mixture, source in pairs:
        if mixture in headers and source in headers and headers[mixture] != headers[source]:
            finding.faults.append(f"{source} has {headers[source]}, but {mixture} {headers[mixture]}")
    first = [headers[path] for path in next(iter(mixtures.values())) if path in headers]
    finding.facts = {
        "types": ", ".join(f"{name} ({len(paths)})" for name, paths in mixtures.items()),
        "sources": str(sum((split / f"s{number}").is_dir() for number in range(1, 6))),
        **describe_audio(first, first),
        "read": HEADERS_ONLY,
    }
    if not pairs and not finding.missing:
        finding.missing = "mixtures: the folders are empty"
    if not finding.missing:
        finding.yaml = f"mixtures:\n  - tree: {as_yaml(split)}" + (
            "" if "mix_clean" in mixtures else f"\n    mix_type: {next(iter(mixtures))}"
        )
    return finding


def check_list(path: Path) -> Finding:
    """Check a csv: a list of speech, or LibriMix metadata."""
    try:
        table = read_table(path)
    except SettingsError as error:
        return Finding(f"list: {path}", missing=str(error))
    if not {"path", "speaker"} <= set(table.columns):
        return check_metadata(path)
    place = table.columns.index("path")
    names = [cells[place] for _, cells in table.lines if len(cells) > place and cells[place]]
    root = find_root(path, names[0]) if names else None
    if root is None:
        first = names[0].replace("\\", "/") if names else "the files"
        return Finding(f"speech: {path}", missing=f"the folder with {first}: run `check` beside it")
    return check_speech(root, path)


def check_metadata(path: Path) -> Finding:
    """Check a LibriMix metadata csv, and search for its speech and noise in the surrounding folders."""
    finding = Finding(f"metadata: {path}")
    try:
        placed = read_metadata(path, path.parent, None, must_exist=False)
    except SettingsError as error:
        finding.missing = str(error)
        return finding
    rows = list(placed.values())
    numbers = source_numbers(rows[0], "mix_clean")
    speakers = {row[f"source_{number}_path"]: source_speaker(row, number) for row in rows for number in numbers}
    firsts = {"root": rows[0]["source_1_path"]}
    if noises := [row["noise_path"] for row in rows if row.get("noise_path")]:
        firsts["noise_root"] = noises[0]
    roots = {key: find_root(path, file) for key, file in firsts.items()}
    finding.facts = {
        "mixtures": str(len(rows)),
        "sources": str(len(numbers)),
        "speakers": describe_speakers(Counter(speakers.values())),
        "first": firsts["root"],
    }
    if (root := roots["root"]) is not None:
        places = {file: place for place, row in placed.items() for file in source_paths(row, root)}
        headers = read_headers(places, finding, places)
        voices = [[headers[file] for file in source_paths(row, root) if file in headers] for row in rows]
        finding.facts |= describe_audio(map(shortest, filter(None, voices)), headers.values()) | {"read": HEADERS_ONLY}
    if (noise_root := roots.get("noise_root")) is not None:
        places = {noise_root / row["noise_path"]: place for place, row in placed.items() if row.get("noise_path")}
        read_headers(places, finding, places)
    lost = [key for key, folder in roots.items() if folder is None]
    finding.missing = "; ".join(f"the folder with {firsts[key]}: pass it as `{key}`" for key in lost)
    # clean mixtures need no noise
    lines = [f"{key}: {as_yaml(folder or 'FOLDER')}" for key, folder in roots.items() if folder or key == "root"]
    finding.yaml = "\n    ".join([f"mixtures:\n  - metadata: {as_yaml(path)}", *lines])
    return finding


def find_root(path: Path, file: str) -> Path | None:
    """The root of the paths of a csv: a surrounding folder that contains this file."""
    # data/LibriMix/metadata/Libri2Mix/*.csv and data/LibriSpeech share the folder data
    parents = list(path.resolve().parents)[:4]
    # os.path, because Path raises for folders without read permission
    folders = [folder for parent in parents for folder in (parent, *sorted(parent.glob("*/")))]
    return next((folder for folder in folders if os.path.isfile(folder / file)), None)


def check_dataset(path: Path) -> Finding:
    """Check a folder written by `save_to_disk`."""
    finding = Finding(f"dataset: {path}")
    try:
        loaded = load_from_disk(path)
    except (OSError, ValueError, KeyError) as error:
        finding.missing = f"a set that can be loaded: {error}"
        return finding
    splits = loaded if isinstance(loaded, DatasetDict) else {"": loaded}
    features = next(iter(splits.values())).features
    finding.facts = {
        "splits": ", ".join(f"{name or 'one'} ({len(rows)} rows)" for name, rows in splits.items()),
        "columns": ", ".join(features),
    }
    files = [name for name in features if holds_files(features[name])]
    sources = [name for name in files if SOURCE_COLUMN.fullmatch(name)]
    mixtures = [name for name in files if MIXTURE_COLUMN.fullmatch(name)]
    mixture = mixtures[0] if len(mixtures) == 1 else None
    if len(sources) < 2:
        finding.missing = "columns of sources: name them as `source_columns`"
        sources = ["COLUMN", "COLUMN"]
    else:
        rows = [row for split in splits for row in read_rows_of_dataset(path, split, sources, mixture, finding)]
        headers = [header for row in rows for header in row]
        finding.facts |= describe_audio(map(shortest, rows), headers) | {"read": HEADERS_ONLY}
    split = next(iter(splits))
    finding.yaml = f"mixtures:\n  - dataset: {as_yaml(path)}\n" + (f"    split: {as_yaml(split)}\n" if split else "")
    finding.yaml += f"    source_columns: [{', '.join(map(as_yaml, sources))}]"
    if mixture is not None:
        finding.yaml += f"\n    mixture_column: {as_yaml(mixture)}"
    return finding


def read_rows_of_dataset(
    path: Path, split: str, sources: list[str], mixture: str | None, finding: Finding
) -> list[list[Header]]:
    """The headers of every row of a split; unreadable files are recorded as faults."""
    arguments = MixtureArguments(dataset=str(path), split=split, source_columns=sources, mixture_column=mixture)
    audio = open_dataset(arguments)
    rows = []
    for index, row in enumerate(tqdm(audio, desc=f"Checking {path} {split}", unit="row")):
        try:
            rows.append(row_headers(row, index, f"{path} {split}".strip()))
        except SettingsError as error:
            finding.faults.append(str(error))
    return rows
