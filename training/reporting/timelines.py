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
"""Pictures of conversations: who speaks when, and on which track."""

import re
from pathlib import Path

import numpy as np

from audioslots_hf.plots import require_matplotlib

from ..data.activity import FRAMES_PER_S, fill_frames, find_spans
from ..settings import SettingsError
from .rttm import TRACKS_RTTM, TRUTH_RTTM, read_rttm


# a row a second would be too narrow for a minute and too wide for an hour
MIN_WIDTH, MAX_WIDTH = 8, 24
SEVERAL, NOBODY = "0.35", "0.8"


def draw_timelines(folder: Path, results: Path) -> str:
    """
    Draw the recordings of `benchmark conversations --rttm` in the folder of their results -> Markdown of all pictures.

    Raises:
        `SettingsError`: a file is missing, or no RTTM.
    """
    if not (results / TRACKS_RTTM).is_file():
        raise SettingsError(
            f"{results} holds {TRUTH_RTTM}, but no {TRACKS_RTTM}: run the benchmark again with --rttm."
        )
    truth, tracks = (read_rttm(results / name) for name in (TRUTH_RTTM, TRACKS_RTTM))
    parts = []
    for recording, voices in truth.items():
        title = recording.replace("_", " ")
        found = tracks.get(recording, [])
        num_frames = 1 + max(round(end * FRAMES_PER_S) for spans in voices + found for _, end in spans)
        name = "_".join([results.resolve().name, *re.findall(r"\w+", title)]) + ".png"
        plot_timelines(folder / name, *(fill_frames(rows, num_frames) for rows in (voices, found)), title)
        parts.append(f"![Who speaks when: {title}]({name})\n")
    return "\n".join(parts)


def plot_timelines(path: str | Path, active: np.ndarray, track_activity: np.ndarray, title: str) -> None:
    """
    Draw the true activity of each voice, and below it the activity of each track, in the colour of the true voice.

    A track of one person has one colour. It is dark grey while several people speak, and light grey while nobody speaks.

    Args:
        path (`str` or `Path`):
            Picture to write; its suffix gives the format.
        active (bool `np.ndarray` of shape `(num_voices, num_frames)`):
            Whether each voice speaks, for frames of 10 ms.
        track_activity (bool `np.ndarray` of shape `(num_tracks, num_frames)`):
            Whether each track holds speech.
        title (`str`):
            Stands above.

    Raises:
        `ImportError`: matplotlib is missing.
    """
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    duration_s = active.shape[1] / FRAMES_PER_S
    labels = [f"voice {index}" for index in range(len(active))]
    labels += [f"track {index}" for index in range(len(track_activity))]
    width = float(np.clip(duration_s / 5, MIN_WIDTH, MAX_WIDTH))
    figure = Figure(figsize=(width, 0.4 * len(labels) + 1), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for row, (frames, colour) in list_bars(active, track_activity):
        spans = [(start / FRAMES_PER_S, (stop - start) / FRAMES_PER_S) for start, stop in find_spans(frames)]
        axes.broken_barh(spans, (row - 0.4, 0.8), facecolors=colour, linewidth=0)
    axes.axhline(len(active) - 0.5, color="black", linewidth=0.8)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlim(0, duration_s)
    axes.set_xlabel("seconds")
    axes.set_title(title, loc="left", fontsize=10, parse_math=False)
    figure.savefig(path, dpi=110)


def list_bars(active: np.ndarray, track_activity: np.ndarray) -> list[tuple[int, tuple[np.ndarray, str]]]:
    """The row, the frames and the colour of all bars: truth first."""
    counts = active.sum(axis=0)
    bars = [(voice, (frames, f"C{voice}")) for voice, frames in enumerate(active)]
    for row, track in enumerate(track_activity, start=len(active)):
        bars += [(row, (track & frames & (counts == 1), f"C{voice}")) for voice, frames in enumerate(active)]
        bars += [(row, (track & (counts > 1), SEVERAL)), (row, (track & (counts == 0), NOBODY))]
    return bars
