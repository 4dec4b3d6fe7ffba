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
"""Who speaks when in many recordings, as RTTM: the format of the NIST evaluations of diarization, with a line for each segment."""

from pathlib import Path

import numpy as np

from audioslots_hf.files import write_text

from ..data.activity import FRAMES_PER_S, find_spans
from ..settings import SettingsError


# the files of a folder: of the voices, and of the tracks into which they were separated
TRUTH_RTTM, TRACKS_RTTM = "truth.rttm", "tracks.rttm"


def format_rttm(recording: str, label: str, activity: np.ndarray) -> str:
    """
    The lines of a recording.

    Args:
        recording (`str`):
            Its name; spaces become underscores, because a name is one word there.
        label (`str`):
            Of the rows, before their index.
        activity (bool `np.ndarray` of shape `(num_rows, num_frames)`):
            Whether each voice or track speaks, for frames of 10 ms.
    """
    name = "_".join(recording.split())
    segments = sorted((start, stop, row) for row, frames in enumerate(activity) for start, stop in find_spans(frames))
    return "".join(
        f"SPEAKER {name} 1 {start / FRAMES_PER_S:.2f} {(stop - start) / FRAMES_PER_S:.2f} <NA> <NA> {label}_{row} <NA> <NA>\n"
        for start, stop, row in segments
    )


def add_rttm(path: Path, recordings: dict[str, str]) -> None:
    """Add the lines of recordings, by their names, to a file, which need not exist; they replace those of the same name."""
    names = {"_".join(name.split()) for name in recordings}
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    others = [line for line in lines if line.split()[1:2] and line.split()[1] not in names]
    write_text(path, "".join([*others, *recordings.values()]))


def read_rttm(path: Path) -> dict[str, list[list[tuple[float, float]]]]:
    """
    Start and end, in seconds, of the segments of each voice or track of each recording, by its name.

    Raises:
        `SettingsError`: a line is no segment.
    """
    recordings: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            _, recording, _, start, duration, _, _, label, *_ = line.split()
            segment = (float(start), float(start) + float(duration))
        except ValueError as error:
            raise SettingsError(f"{path}, line {number}, is no segment of an RTTM file: {line!r}.") from error
        recordings.setdefault(recording, {}).setdefault(label, []).append(segment)
    return {name: [labels[label] for label in sorted(labels)] for name, labels in recordings.items()}
