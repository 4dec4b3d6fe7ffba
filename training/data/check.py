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
Look at a folder of audio: what it is, what of it is broken, and which lines of a training yaml read it.

Known are a folder of speech by speaker, the root of LibriSpeech, a generated Libri2Mix (its root or a split), a LibriMix
metadata csv, and a folder that `save_to_disk` of the datasets library wrote.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import soundfile
from tqdm.auto import tqdm

from ..arguments import MIX_TYPES, SettingsError
from .audio import AUDIO_SUFFIXES
from .libri2mix import count_sources, list_tree, read_metadata, tree_sources
from .speech import list_speech


# of each kind of fault so many are printed
MAX_SHOWN = 5
# shorter speech is of little use: LibriMix leaves out what is below 3 s
SHORT_S = 1.0


@dataclass
class Finding:
    """What was found at a path."""

    kind: str
    facts: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    # lines of a yaml that read it; none if it cannot be used as it is
    yaml: str = ""
    # what is missing to use it
    missing: str = ""

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
    Say what a path holds.

    Raises:
        `SettingsError`: it does not exist.
    """
    if not path.exists():
        raise SettingsError(f"{path} does not exist.")
    if path.is_file():
        return [check_metadata(path)]
    if any((path / name).is_file() for name in ("dataset_info.json", "dataset_dict.json")):
        return [check_dataset(path)]
    if splits := find_splits(path):
        return [check_tree(split) for split in splits]
    subsets = [folder for folder in sorted(path.iterdir()) if is_librispeech_subset(folder)]
    return [check_speech(folder) for folder in subsets or [path]]


def find_splits(path: Path) -> list[Path]:
    """The splits of a generated Libri2Mix at or below a path, at most three levels down."""
    for depth in ("", "*/", "*/*/", "*/*/*/"):
        found = {folder.parent for name in MIX_TYPES for folder in path.glob(f"{depth}{name}") if folder.is_dir()}
        if found:
            return sorted(found)
    return []


def is_librispeech_subset(folder: Path) -> bool:
    """Whether a folder is one of LibriSpeech's: train-clean-100 and so on, with speakers and chapters, both numbered."""
    return folder.is_dir() and any(
        path.name.isdigit() and path.parent.name.isdigit() for path in folder.glob("*/*") if path.is_dir()
    )


def check_speech(folder: Path) -> Finding:
    """A folder of speech by speaker."""
    finding = Finding(f"speech: {folder}")
    try:
        files = list_speech(folder)
    except SettingsError as error:
        finding.missing = str(error)
        return finding
    if not files:
        finding.missing = f"audio: there is no file that ends in {', '.join(AUDIO_SUFFIXES)}"
        return finding
    speakers, rates, seconds = Counter(), Counter(), 0.0
    for file in tqdm(files, desc=f"Checking {folder}", unit="file"):
        try:
            info = soundfile.info(file.path)
        except soundfile.SoundFileError as error:
            finding.faults.append(f"{file.path}: {error}")
            continue
        if info.duration < SHORT_S:
            finding.faults.append(f"{file.path}: only {info.duration:.2f} s long")
            continue
        speakers[file.speaker] += 1
        rates[info.samplerate] += 1
        seconds += info.duration
    finding.facts = {
        "speakers": f"{len(speakers)}, with {min(speakers.values(), default=0)} to {max(speakers.values(), default=0)} "
        "files each",
        "files": str(sum(speakers.values())),
        "hours": f"{seconds / 3600:.2f}",
        "rates": describe_rates(rates),
    }
    if len(speakers) < 2:
        finding.missing = "a second speaker: one folder below this one holds one speaker"
    else:
        finding.yaml = f"speech:\n  - root: {folder}"
    return finding


def describe_rates(rates: Counter) -> str:
    """Sampling rates and how many files have each."""
    return ", ".join(f"{rate} Hz ({count} files)" for rate, count in rates.most_common())


def check_tree(split: Path) -> Finding:
    """One split of a generated Libri2Mix."""
    finding = Finding(f"generated mixtures: {split}")
    found = [name for name in MIX_TYPES if (split / name).is_dir()]
    names = {name: {path.name for path in list_tree(split, name)} for name in found}
    seconds, rates = 0.0, Counter()
    for name in found:
        try:
            sources = tree_sources(split, name)
        except SettingsError as error:
            finding.missing = str(error)
            continue
        for source in sources:
            finding.faults += [
                f"{source / file} does not exist, but {split / name / file} does"
                for file in sorted(names[name])
                if not (source / file).is_file()
            ]
    for path in tqdm(list_tree(split, found[0]), desc=f"Checking {split}", unit="file"):
        try:
            info = soundfile.info(path)
        except soundfile.SoundFileError as error:
            finding.faults.append(f"{path}: {error}")
            continue
        seconds, rates[info.samplerate] = seconds + info.duration, rates[info.samplerate] + 1
    sources = sum((split / f"s{number}").is_dir() for number in range(1, 6))
    finding.facts = {
        "types": ", ".join(f"{name} ({len(names[name])})" for name in found),
        "sources": str(sources),
        "hours": f"{seconds / 3600:.2f}",
        "rates": describe_rates(rates),
    }
    if not finding.missing:
        finding.yaml = f"mixtures:\n  - tree: {split}" + (
            "" if "mix_clean" in found else f"\n    mix_type: {found[0]}"
        )
    return finding


def check_metadata(path: Path) -> Finding:
    """A LibriMix metadata csv; the speech that it names is looked for in the folders around it."""
    finding = Finding(f"metadata: {path}")
    try:
        rows = read_metadata(path, path.parent, 1, must_exist=False)
    except (SettingsError, UnicodeDecodeError) as error:
        finding.missing = str(error)
        return finding
    first = rows[0]["source_1_path"]
    finding.facts = {"mixtures": str(len(rows)), "sources": str(count_sources(rows[0])), "first": first}
    roots = [folder for parent in list(path.resolve().parents)[:3] for folder in (parent, *sorted(parent.glob("*/")))]
    root = next((folder for folder in roots if (folder / first).is_file()), None)
    if root is None:
        finding.missing = f"the folder that holds {first}: give it as `root`"
        root = Path("FOLDER")
    else:
        lost = [row for row in rows if not (root / row["source_1_path"]).is_file()]
        finding.faults = [f"{root / row['source_1_path']} does not exist" for row in lost]
    finding.yaml = f"mixtures:\n  - metadata: {path}\n    root: {root}"
    return finding


def check_dataset(path: Path) -> Finding:
    """A folder that `save_to_disk` wrote."""
    from datasets import DatasetDict, load_from_disk

    finding = Finding(f"dataset: {path}")
    loaded = load_from_disk(path)
    splits = loaded if isinstance(loaded, DatasetDict) else {"": loaded}
    columns = next(iter(splits.values())).column_names
    finding.facts = {
        "splits": ", ".join(f"{name or 'one'} ({len(rows)} rows)" for name, rows in splits.items()),
        "columns": ", ".join(columns),
    }
    sources = [name for name in columns if name.startswith("source") or name in ("s1", "s2", "s3", "s4", "s5")]
    if len(sources) < 2:
        finding.missing = "columns of sources: name them as `source_columns`"
        sources = ["COLUMN", "COLUMN"]
    split = next(iter(splits))
    finding.yaml = f"mixtures:\n  - dataset: {path}\n" + (f"    split: {split}\n" if split else "")
    finding.yaml += f"    source_columns: [{', '.join(sources)}]"
    return finding
