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
"""Curves of scores against compute: their slope, and the compute that a score would need if they went on."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Fit:
    """
    A line through scores against the logarithm of compute: with a `ceiling`, through the logarithm of their distance to it.

    Without a ceiling every doubling of the compute adds the same; with one it divides the distance to the ceiling by the same.
    """

    slope: float
    intercept: float
    rms_db: float
    ceiling: float | None = None

    def score(self, compute: float) -> float:
        """The score in dB that is expected after this compute."""
        value = self.intercept + self.slope * math.log2(compute)
        return value if self.ceiling is None else self.ceiling - math.exp(value)

    def compute(self, score: float) -> float:
        """The compute that a score in dB needs; infinite for one above the ceiling or on a curve that does not rise."""
        rises = self.slope > 0 if self.ceiling is None else self.slope < 0
        if not rises or (self.ceiling is not None and score >= self.ceiling):
            return math.inf
        value = score if self.ceiling is None else math.log(self.ceiling - score)
        return 2 ** ((value - self.intercept) / self.slope)


def fit_curve(compute: Sequence[float], scores: Sequence[float], ceiling: float | None = None) -> Fit:
    """
    Fit a curve by least squares.

    Args:
        compute (`Sequence` of `float`):
            Compute above 0 of at least two points, in any unit.
        scores (`Sequence` of `float`):
            Scores in dB.
        ceiling (`float`, *optional*):
            Score in dB that the curve approaches, above all scores.
    """
    values = np.asarray(scores, dtype=float)
    if ceiling is not None:
        values = np.log(ceiling - values)
    slope, intercept = np.polyfit(np.log2(compute), values, 1)
    fit = Fit(float(slope), float(intercept), 0.0, ceiling)
    errors = [score - fit.score(amount) for amount, score in zip(compute, scores, strict=True)]
    return Fit(fit.slope, fit.intercept, float(np.sqrt(np.mean(np.square(errors)))), ceiling)


def hindcast_error(compute: Sequence[float], scores: Sequence[float], ceiling: float | None = None) -> float | None:
    """The last score minus the one expected from the points up to half of the compute, in dB; `None` if these are under three."""
    known = [index for index, amount in enumerate(compute) if 2 * amount <= compute[-1]]
    if len(known) < 3:
        return None
    fit = fit_curve([compute[index] for index in known], [scores[index] for index in known], ceiling)
    return scores[-1] - fit.score(compute[-1])
