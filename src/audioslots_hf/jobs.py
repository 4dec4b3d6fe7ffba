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
"""The files to separate and the folders of their tracks, checked before any model is loaded."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from .layouts import walk_files
from .suffixes import AUDIO_SUFFIXES


# regular expression for the ends of the names of all outputs that `SeparationJob` gives, after the name of the recording
OUTPUT_ENDING = r"(?:_source_\d+\.\w+|_separation\.png|_report\.html|\.rttm|\.json)"
# maximum number of skipped files that a message lists
MAX_NAMES = 5


@dataclass(frozen=True)
class OutputChoices:
    """
    The files that a run writes for each recording.

    Args:
        force (`bool`, *optional*, defaults to `False`):
            Whether to overwrite outputs.
        skip_existing (`bool`, *optional*, defaults to `False`):
            Whether to leave a recording alone whose outputs all exist, or in which nobody speaks. If its tracks exist and another
            output does not, this is an error, unless a run was stopped between them.
        plot (`bool`, *optional*, defaults to `False`):
            Whether to draw the separation as well.
        report (`bool`, *optional*, defaults to `False`):
            Whether to write a page that plays and shows the separation as well.
        rttm (`bool`, *optional*, defaults to `False`), json (`bool`, *optional*, defaults to `False`):
            Whether to write the segments of a conversation as RTTM, and its description, as well.
        mix (`bool`, *optional*, defaults to `False`):
            Whether to separate the mean of the channels.
        track_format (`str`, *optional*):
            Name of the format of the tracks, of [`~suffixes.TRACK_FORMATS`]. Defaults to that of the recording.
    """

    force: bool = False
    skip_existing: bool = False
    plot: bool = False
    report: bool = False
    rttm: bool = False
    json: bool = False
    mix: bool = False
    track_format: str | None = None


@dataclass
class SeparationJob:
    """One input file and the folder of its tracks."""

    recording: Path
    folder: Path

    def output_paths(self, num_sources: int, suffix: str) -> list[Path]:
        """`<folder>/<name>_source_0<suffix>` and so on."""
        return [self.folder / f"{self.recording.stem}_source_{index}{suffix}" for index in range(num_sources)]

    @property
    def rttm_path(self) -> Path:
        """Path of the segments of this recording, as RTTM."""
        return self.folder / f"{self.recording.stem}.rttm"

    @property
    def json_path(self) -> Path:
        """Path of the description of this conversation."""
        return self.folder / f"{self.recording.stem}.json"

    def description_paths(self, choices: OutputChoices) -> list[Path]:
        """Paths of the segments and of the description of a conversation, as far as they are wanted."""
        wanted = ((self.rttm_path, choices.rttm), (self.json_path, choices.json))
        return [path for path, is_wanted in wanted if is_wanted]

    def picture_paths(self, choices: OutputChoices) -> list[Path]:
        """Paths of the plot and of the report, as far as they are wanted."""
        wanted = ((self.plot_path, choices.plot), (self.report_path, choices.report))
        return [path for path, is_wanted in wanted if is_wanted]

    @property
    def report_path(self) -> Path:
        """Path of the page that plays and shows this separation."""
        return self.folder / f"{self.recording.stem}_report.html"

    @property
    def plot_path(self) -> Path:
        """Path of the plot of this separation."""
        return self.folder / f"{self.recording.stem}_separation.png"


def find_inputs(
    inputs: list[Path], output: Path, notes: list[str], skip_existing: bool = False
) -> list[tuple[Path, Path]]:
    """
    Every audio file, with the folder of its tracks relative to the output.

    Hidden files are left out, and so are tracks of an earlier run, if a folder contains the output folder.

    Args:
        inputs (`list` of `Path`):
            Files and folders.
        output (`Path`):
            Folder of the tracks.
        notes (`list` of `str`):
            Receives a line for each folder with files that are left out because of their names.
        skip_existing (`bool`, *optional*, defaults to `False`):
            Whether the tracks of an earlier run are also left out if they lie beside their recordings.

    Raises:
        `ValueError`: a folder without audio.
    """
    files = []
    for path in inputs:
        if not path.is_dir():
            # a missing file is reported with the others' results
            files.append((path, Path()))
            continue
        found = walk_files(path)
        if path.resolve() in output.resolve().parents:
            found = [file for file in found if not file.resolve().is_relative_to(output.resolve())]
        if skip_existing:
            found = _leave_out_tracks(path, found, output, notes)
        left_out = [file.name for file in found if file.suffix.lower() not in AUDIO_SUFFIXES]
        found = [file for file in found if file.suffix.lower() in AUDIO_SUFFIXES]
        if not found:
            raise ValueError(f"{path} holds no audio file (.wav, .flac, .mp3, .ogg, .m4a, .mp4 and so on).")
        if left_out:
            names = ", ".join(left_out[:MAX_NAMES]) + (", ..." if len(left_out) > MAX_NAMES else "")
            notes.append(
                f"{path}: left out {len(left_out)} of {len(found) + len(left_out)} files, by their names: {names}"
            )
        files += [(file, file.parent.relative_to(path)) for file in found]
    return files


def _leave_out_tracks(folder: Path, files: list[Path], output: Path, notes: list[str]) -> list[Path]:
    """The files of a folder without complete sets of tracks that an earlier run wrote beside their recordings."""
    recordings = {file.with_suffix("") for file in files if file.suffix.lower() in AUDIO_SUFFIXES}
    names = {file.with_suffix("") for file in files}
    kept = []
    for file in files:
        match = re.fullmatch(r"(.+)_source_\d+", file.stem)
        is_track = match is not None and file.with_name(match[1]) in recordings
        is_beside = (output / file.parent.relative_to(folder)).resolve() == file.parent.resolve()
        # one alone may be a recording
        if not (
            is_track and is_beside and {file.with_name(f"{match[1]}_source_{index}") for index in (0, 1)} <= names
        ):
            kept.append(file)
    if len(kept) < len(files):
        notes.append(f"{folder}: left out {len(files) - len(kept)} files, which are tracks of other files there")
    return kept


def plan_jobs(files: list[tuple[Path, Path]], output: Path) -> list[SeparationJob]:
    """
    Check the outputs of all files before any work; a file that is given twice is separated once.

    Raises:
        `ValueError`: two inputs would write the same tracks, or an input is a track.
        `OSError`: the output folder cannot be created or written to.
    """
    jobs: dict[Path, SeparationJob] = {}
    clashes: dict[Path, list[str]] = {}
    for recording, folder in files:
        job = SeparationJob(recording, output / folder)
        target = job.folder / recording.stem
        other = jobs.setdefault(target, job).recording
        # one file may be named twice: by itself, and by its folder
        if other != recording and other.resolve() != recording.resolve():
            clashes.setdefault(target, [str(other)]).append(str(recording))
    if clashes:
        listed = "\n".join(
            f"  {' and '.join(names)} would both write {target}_source_0" for target, names in clashes.items()
        )
        raise ValueError(f"Rename files, or separate them into different folders:\n{listed}")
    # resolved once for each file, because folders may be links
    targets = {target.resolve() for target in jobs}
    for job in jobs.values():
        # with --force, tracks of an earlier run would be overwritten before they are read
        name = re.fullmatch(r"(.+)_source_\d+", job.recording.stem)
        if name and (job.recording.parent / name[1]).resolve() in targets:
            raise ValueError(
                f"{job.recording} is both an input and a track of {name[1]}: separate into another folder, or name the files."
            )
    for folder in sorted({job.folder for job in jobs.values()}):
        make_folder(folder)
    return list(jobs.values())


def make_folder(folder: Path) -> None:
    """Create an output folder, or raise an `OSError` with the reason."""
    if folder.exists() and not folder.is_dir():
        raise OSError(f"The output {folder} is a file, not a folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"The output folder {folder} cannot be created ({error.strerror}): choose another.") from error
    if not os.access(folder, os.W_OK):
        raise OSError(f"The output folder {folder} cannot be written to: change its permissions or choose another.")


__all__ = [
    "MAX_NAMES",
    "OUTPUT_ENDING",
    "OutputChoices",
    "SeparationJob",
    "find_inputs",
    "make_folder",
    "plan_jobs",
]
