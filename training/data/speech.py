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
"""Speech by speaker, and mixtures drawn from it on the fly."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from audioslots_hf.layouts import walk_files
from audioslots_hf.suffixes import AUDIO_SUFFIXES

from ..arguments import SpeechArguments
from ..settings import SettingsError
from .audio import AudioError, audio_length, read_audio
from .loudness import loudness_lufs
from .rows import parse_number, parse_path, read_table


@dataclass
class Utterance:
    """One recording of one speaker, `num_samples` long at the model's rate, as int16 if in memory."""

    path: Path
    num_samples: int
    loudness: float
    samples: np.ndarray | None = None
    # of the row in its list, for messages
    place: str | None = None

    def read(self, start: int, num_samples: int, sampling_rate: int) -> np.ndarray:
        """A span as float32 (num_samples,), shorter at the end of the recording."""
        if self.samples is None:
            return read_listed(self, sampling_rate, start, num_samples)
        return self.samples[start : start + num_samples].astype(np.float32) / 32768


@dataclass
class ListedFile:
    """A file of speech before it is opened, with its loudness in LUFS if a list contains it."""

    path: Path
    speaker: str
    loudness: float | None = None
    # of its row in the list, for messages
    place: str | None = None


def read_listed(
    file: ListedFile | Utterance, sampling_rate: int, start: int = 0, num_samples: int | None = None
) -> np.ndarray:
    """[`read_audio`], with the row of a list in its messages."""
    try:
        return read_audio(file.path, sampling_rate, start, num_samples)
    except AudioError as error:
        if file.place is None:
            raise
        raise AudioError(f"{file.place}: {error}") from error


def list_speech(
    root: str | Path, utterances: str | Path | None = None, is_unsupervised: bool = False
) -> list[ListedFile]:
    """
    The files of a folder of speech, from a csv with `path`, `speaker` and optionally `loudness`, or from the folder itself.

    The order is the same in both cases. In a folder of recordings of several voices (`is_unsupervised`), a file directly in
    it stands for itself, as if it were the only one of its speaker.

    Raises:
        `SettingsError`: the folder does not exist, the csv lacks a column or a number, or a file is outside the speakers' folders.
    """
    root = Path(root)
    if not root.is_dir():
        raise SettingsError(f"{root} is not a folder: give a folder with a subfolder for each speaker.")
    if utterances is None:
        paths = walk_files(root, AUDIO_SUFFIXES)
        loose = sorted(path for path in paths if path.parent == root)
        if loose and not is_unsupervised:
            raise SettingsError(
                f"{loose[0]} is directly in {root}: put the files of each speaker into a separate folder."
            )
        files = [ListedFile(path, path.relative_to(root).parts[0]) for path in paths]
    else:
        table = read_table(utterances)
        if missing := {"path", "speaker"} - set(table.columns):
            raise SettingsError(f"{utterances} has no column `{min(missing)}`: it needs path and speaker.")
        files = [parse_file(row, place, root) for place, row in table.rows()]
    return sorted(files, key=lambda file: (file.speaker, file.path.as_posix()))


def parse_file(row: dict[str, str], place: str, root: Path) -> ListedFile:
    """The file of a row of a list, or a `SettingsError` that names the cell."""
    path = root / parse_path(row, "path", place, root)
    if not row["speaker"].strip():
        raise SettingsError(f"{place}: `speaker` is empty.")
    loudness = parse_number(row, "loudness", place) if row.get("loudness") else None
    return ListedFile(path, row["speaker"], loudness, place)


def load_utterance(file: ListedFile, sampling_rate: int, in_memory: bool) -> Utterance:
    """Read a whole file, or only its header if its loudness is known and it stays on disk."""
    if not in_memory and file.loudness is not None:
        try:
            num_samples = audio_length(file.path, sampling_rate)
        except AudioError as error:
            raise AudioError(f"{file.place}: {error}") from error
        return Utterance(file.path, num_samples, file.loudness, place=file.place)
    audio = read_listed(file, sampling_rate)
    loudness = loudness_lufs(audio, sampling_rate) if file.loudness is None else file.loudness
    samples = np.clip(np.round(audio * 32768), -32768, 32767).astype(np.int16) if in_memory else None
    return Utterance(file.path, len(audio), loudness, samples, file.place)


def load_speech(
    folder: SpeechArguments, sampling_rate: int, show_progress: bool = True, is_unsupervised: bool = False
) -> list[list[Utterance]]:
    """
    Read a folder of speech: one list of utterances per speaker; of recordings without sources, one per folder or loose file.

    Raises:
        `SettingsError`: there is no speech, or a file cannot be used.
    """
    speakers: dict[str, list[Utterance]] = {}
    files = list_speech(folder.root, folder.utterances, is_unsupervised)
    for file in tqdm(files, desc=f"Reading {folder.root}", unit="file", disable=not show_progress):
        utterance = load_utterance(file, sampling_rate, folder.in_memory)
        if utterance.loudness == -np.inf:
            raise SettingsError(f"{file.path} is silent: leave it out.")
        speakers.setdefault(file.speaker, []).append(utterance)
    if not speakers:
        raise SettingsError(f"{folder.root} contains no audio file (.wav, .flac, .mp3 and so on).")
    return list(speakers.values())
