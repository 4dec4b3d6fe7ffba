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
"""Figures of the scores of evaluations."""

from collections.abc import Iterable
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from audioslots_hf.files import replacing

from ..pitch import distance_in_semitones
from .results import Score


# The scores of one model or oracle: the mixtures of one row of a results file.
Scores = list[Score]
# Values of SI-SNRi in dB by the group that they belong to.
Groups = dict[str, list[float]]

INPUT_EDGES_DB = (-5.0, -2.5, 0.0, 2.5, 5.0)
PITCH_EDGES = (2.0, 4.0, 7.0, 12.0)
# One for every ten series: there are ten colours.
MARKERS = "os^D"


def label_bins(edges: tuple[float, ...]) -> list[str]:
    """The names of the bins below, between and above the edges."""
    between = [f"{low:g} to {high:g}" for low, high in zip(edges, edges[1:], strict=False)]
    return [f"below {edges[0]:g}", *between, f"{edges[-1]:g} and more"]


def group_by_bins(pairs: list[tuple[float, float]], edges: tuple[float, ...]) -> Groups:
    """The second value of each pair, by the bin of the first; bins that are empty are left out."""
    groups: Groups = {label: [] for label in label_bins(edges)}
    labels = list(groups)
    for position, value in pairs:
        groups[labels[int(np.searchsorted(edges, position, side="right"))]].append(value)
    return {label: values for label, values in groups.items() if values}


def count_voices(score: Score) -> int:
    """Number of sources of a mixture."""
    return sum(key.startswith("source_") and key.endswith("_si_snri") for key in score)


def by_input_si_snr(scores: Scores) -> Groups:
    """Every voice by how loud it was in the mixture."""
    pairs = [
        (float(score[f"source_{number}_input_si_snr"]), float(score[f"source_{number}_si_snri"]))
        for score in scores
        for number in range(1, 1 + count_voices(score))
    ]
    return group_by_bins(pairs, INPUT_EDGES_DB)


def by_pitch_distance(scores: Scores) -> Groups:
    """Every mixture by how far the median pitches of its nearest two voices lie apart; those without pitch are left out."""
    pairs = []
    for score in scores:
        f0s_hz = sorted(float(score.get(f"source_{n}_f0_hz") or "nan") for n in range(1, 1 + count_voices(score)))
        if len(f0s_hz) > 1 and not np.isnan(f0s_hz).any():
            distance = min(distance_in_semitones(*pair) for pair in zip(f0s_hz, f0s_hz[1:], strict=False))
            pairs.append((distance, float(score["si_snri"])))
    return group_by_bins(pairs, PITCH_EDGES)


def by_sex(scores: Scores) -> Groups:
    """Every mixture by the sexes of its voices, where the metadata names them."""
    groups: Groups = {}
    for score in scores:
        sexes = [score.get(f"source_{number}_sex") for number in range(1, 1 + count_voices(score))]
        if sexes and all(sexes):
            groups.setdefault(" and ".join(sorted(sexes)), []).append(float(score["si_snri"]))
    return dict(sorted(groups.items()))


def start_figure() -> tuple[Figure, Axes]:
    """An empty figure, apart from any window."""
    figure = Figure(figsize=(9, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.grid(axis="y", color="0.9")
    axes.set_axisbelow(True)
    return figure, axes


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure, complete or not at all."""
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110)


def order_labels(series: Iterable[Groups]) -> list[str]:
    """The labels of all groups: bins in their order, other labels by the alphabet."""
    bins = [*label_bins(INPUT_EDGES_DB), *label_bins(PITCH_EDGES)]
    labels = {label for groups in series for label in groups}
    return sorted(labels, key=lambda label: (bins.index(label) if label in bins else len(bins), label))


def plot_groups(path: Path, series: dict[str, Groups], xlabel: str, unit: str) -> None:
    """
    Draw the median of each group and the range of its middle half, side by side for several models.

    Args:
        path (`Path`):
            Picture to write.
        series (`dict`):
            The groups of each model; a model may lack some that others have.
        xlabel (`str`):
            What the groups differ in, with its unit.
        unit (`str`):
            What is counted in a group: voices or mixtures.
    """
    figure, axes = start_figure()
    axes.axhline(0, color="0.6", linewidth=0.8)
    places = {label: place for place, label in enumerate(order_labels(series.values()))}
    # all series of a group stay nearer to their label than to the next
    step = min(0.12, 0.8 / len(series))
    for index, (name, groups) in enumerate(series.items()):
        positions = np.array([places[label] for label in groups]) + step * (index - (len(series) - 1) / 2)
        low, middle, high = np.array([np.percentile(values, (25, 50, 75)) for values in groups.values()]).T
        axes.errorbar(
            positions,
            middle,
            (middle - low, high - middle),
            fmt=MARKERS[index // 10 % len(MARKERS)],
            capsize=4,
            label=name,
        )
    counts = {label: max(len(groups.get(label, ())) for groups in series.values()) for label in places}
    axes.set_xticks(range(len(places)), [f"{label}\nn = {count}" for label, count in counts.items()])
    axes.set_xlim(-0.5, len(places) - 0.5)
    axes.set_xlabel(f"{xlabel}; n {unit}")
    axes.set_ylabel("SI-SNRi, dB: median and middle half")
    figure.legend(loc="outside upper left", ncols=2, frameon=False)
    save_figure(figure, path)


def plot_histogram(path: Path, series: dict[str, Scores]) -> None:
    """Draw how many mixtures reach which SI-SNRi, in bins of one decibel."""
    figure, axes = start_figure()
    values = {name: [float(score["si_snri"]) for score in scores] for name, scores in series.items()}
    everything = np.concatenate(list(values.values()))
    edges = np.arange(np.floor(everything.min()), np.ceil(everything.max()) + 1.5)
    # oracles may lie on each other
    for (name, improvements), style in zip(values.items(), cycle(("-", "--", "-.", ":")), strict=False):
        label = f"{name}: mean {np.mean(improvements):.2f} dB"
        axes.hist(improvements, edges, histtype="step", linewidth=1.6, linestyle=style, label=label)
    axes.set_xlabel("SI-SNRi of a mixture, dB")
    axes.set_ylabel(f"mixtures per dB, of {max(map(len, values.values()))}")
    figure.legend(loc="outside upper left", ncols=2, frameon=False)
    save_figure(figure, path)


def plot_learning_curve(path: Path, log: list[dict[str, float]]) -> None:
    """
    Draw the loss of a run and, where it was validated, its SI-SNRi by step.

    Args:
        path (`Path`):
            Picture to write.
        log (`list`):
            The lines of a `log.jsonl`.
    """
    figure, axes = start_figure()
    losses = [(line["step"], line["loss"]) for line in log if "loss" in line]
    axes.plot(*zip(*losses, strict=True), color="0.65", linewidth=0.8, label="loss of training, as logged")
    steps, smooth = zip(*smooth_losses(losses), strict=True)
    axes.plot(steps, smooth, color="C0", label="the same, smoothed")
    axes.set_xlabel("step")
    axes.set_ylabel("loss of training")
    scores = [(line["step"], line["valid_si_snri"]) for line in log if not np.isnan(line.get("valid_si_snri", np.nan))]
    if scores:
        other = axes.twinx()
        other.plot(*zip(*scores, strict=True), "o--", color="C1", label="SI-SNRi of validation, without references")
        other.set_ylabel("SI-SNRi, dB")
    figure.legend(loc="outside upper left", ncols=3, frameon=False)
    save_figure(figure, path)


def smooth_losses(losses: list[tuple[int, float]], share: float = 0.05) -> list[tuple[int, float]]:
    """The mean of the losses of a twentieth of the run, or another `share`, around each step; less at both ends."""
    reach = int(len(losses) * share / 2)
    values = [loss for _, loss in losses]
    return [
        (step, float(np.mean(values[max(index - reach, 0) : index + reach + 1])))
        for index, (step, _) in enumerate(losses)
    ]
