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
"""Scores by the level, the pitch and the sex of the voices."""

import math
from bisect import bisect_right
from collections.abc import Iterable

from ..evaluation.pitch import distance_in_semitones
from .results import Score


# The scores of one model or oracle: the mixtures of one row of a results file.
Scores = list[Score]
# Values of SI-SNRi in dB by the group that they belong to.
Groups = dict[str, list[float]]

INPUT_EDGES_DB = (-5.0, -2.5, 0.0, 2.5, 5.0)
PITCH_EDGES = (2.0, 4.0, 7.0, 12.0)


def label_bins(edges: tuple[float, ...]) -> list[str]:
    """The names of the bins below, between and above the edges."""
    between = [f"{low:g} to {high:g}" for low, high in zip(edges, edges[1:], strict=False)]
    return [f"below {edges[0]:g}", *between, f"{edges[-1]:g} and more"]


def group_by_bins(pairs: list[tuple[float, float]], edges: tuple[float, ...]) -> Groups:
    """The second value of each pair, by the bin of the first, without empty bins."""
    groups: Groups = {label: [] for label in label_bins(edges)}
    labels = list(groups)
    for position, value in pairs:
        groups[labels[bisect_right(edges, position)]].append(value)
    return {label: values for label, values in groups.items() if values}


def count_voices(score: Score) -> int:
    """Number of sources of a mixture."""
    return sum(key.startswith("source_") and key.endswith("_si_snri") for key in score)


def by_input_si_snr(scores: Scores) -> Groups:
    """Every voice by its level in the mixture."""
    pairs = [
        (float(score[f"source_{number}_input_si_snr"]), float(score[f"source_{number}_si_snri"]))
        for score in scores
        for number in range(1, 1 + count_voices(score))
        if score[f"source_{number}_si_snri"] is not None
    ]
    return group_by_bins(pairs, INPUT_EDGES_DB)


def by_pitch_distance(scores: Scores) -> Groups:
    """Every mixture by the distance of the median pitches of its two nearest voices, without mixtures of unknown pitch."""
    pairs = []
    for score in scores:
        f0s_hz = sorted(float(score.get(f"source_{n}_f0_hz") or "nan") for n in range(1, 1 + count_voices(score)))
        if len(f0s_hz) > 1 and not any(map(math.isnan, f0s_hz)):
            distance = min(distance_in_semitones(*pair) for pair in zip(f0s_hz, f0s_hz[1:], strict=False))
            pairs.append((distance, float(score["si_snri"])))
    return group_by_bins(pairs, PITCH_EDGES)


def by_sex(scores: Scores) -> Groups:
    """Every mixture by the sexes of its voices, if the metadata contains them."""
    groups: Groups = {}
    for score in scores:
        sexes = [score.get(f"source_{number}_sex") for number in range(1, 1 + count_voices(score))]
        if sexes and all(sexes):
            groups.setdefault(" and ".join(sorted(sexes)), []).append(float(score["si_snri"]))
    return dict(sorted(groups.items()))


def order_labels(series: Iterable[Groups]) -> list[str]:
    """The labels of all groups: bins in their order, other labels in alphabetical order."""
    bins = [*label_bins(INPUT_EDGES_DB), *label_bins(PITCH_EDGES)]
    labels = {label for groups in series for label in groups}
    return sorted(labels, key=lambda label: (bins.index(label) if label in bins else len(bins), label))
