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
"""Several passes over a mixture: the mean of its estimates, those of its inversion, and those of both shifted in time."""

from collections.abc import Callable

import torch
from transformers import PreTrainedConfig

from .losses import pairwise_mse
from .matching import match_estimates, reorder_estimates


NUM_PASSES = (1, 2, 4)


def check_passes(passes: int, config: PreTrainedConfig | None) -> None:
    """Raise a `ValueError` for another number of passes, or a family whose estimates do not change with polarity."""
    if passes not in NUM_PASSES:
        raise ValueError(f"`passes` is {passes}: it must be one of {', '.join(map(str, NUM_PASSES))}.")
    if passes > 1 and (config is None or config.estimates_domain != "waveform"):
        family = "this model" if config is None else f"the family {config.model_type!r}"
        raise ValueError(
            f"`passes` is {passes}: {family} does not estimate waveforms, so more than 1 changes nothing."
        )


def average_passes(
    separate: Callable[[list[torch.Tensor]], torch.Tensor], rows: list[torch.Tensor], passes: int, shift: int
) -> torch.Tensor:
    """
    The mean of the estimates of several passes, each matched to the order of the first.

    Args:
        separate (callable):
            Gives the estimates `(num_rows, num_sources, num_samples)` of rows.
        rows (`list` of `torch.Tensor` of shape `(num_samples,)`):
            Mixtures of any lengths.
        passes (`int`):
            1: the mixture. 2: also inverted. 4: both also shifted.
        shift (`int`):
            Number of samples of the shift, which is circular: half a stride of the encoder, so that its frames lie between.
    """
    total = first = separate(rows)
    # (polarity, samples of the shift) of every other pass
    for polarity, samples in [(-1, 0), (1, shift), (-1, shift)][: passes - 1]:
        estimates = separate([polarity * row.roll(samples) for row in rows])
        restored = torch.zeros_like(first)
        for target, estimate, row in zip(restored, estimates, rows, strict=True):
            target[:, : len(row)] = polarity * estimate[:, : len(row)].roll(-samples, dims=-1)
        total = total + reorder_estimates(restored, match_estimates(pairwise_mse(restored, first)))
    return total / passes


__all__ = ["NUM_PASSES", "average_passes", "check_passes"]
