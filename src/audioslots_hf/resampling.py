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
"""Resampling of a stream of audio blocks, equal to resampling the whole recording at once."""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from math import gcd

import numpy as np
import torch


SCIPY_MISSING = "Resampling to the model's sampling rate needs SciPy: pip install scipy"


def resample_blocks(blocks: Iterable[torch.Tensor], source_rate: int, target_rate: int) -> Iterator[torch.Tensor]:
    """
    Resample successive parts of one recording by SciPy's polyphase filter, in bounded memory.

    Args:
        blocks (iterable of `torch.Tensor` of shape `(..., num_samples)`):
            Successive parts, of any lengths.
        source_rate (`int`):
            Their sampling rate in hertz.
        target_rate (`int`):
            Wanted sampling rate in hertz.

    Yields:
        Float32 `torch.Tensor` of shape `(..., num_samples)`: together ceil(total * target_rate / source_rate) samples,
        the same as from one call on the whole recording.
    """
    divisor = gcd(source_rate, target_rate)
    up, down = target_rate // divisor, source_rate // divisor
    if up == down:
        yield from blocks
        return
    # the filter extends over 10 * max(up, down) / up samples; a multiple of `down` keeps the output grid
    reach = down * -(-(10 * max(up, down) // up + 2) // down)
    step = down * max(1, source_rate // down)
    num_received = num_sent = 0
    buffer: torch.Tensor | None = None
    for block in blocks:
        num_received += block.shape[-1]
        buffer = torch.nn.functional.pad(block, (reach, 0)) if buffer is None else torch.cat([buffer, block], dim=-1)
        while buffer.shape[-1] >= step + 2 * reach:
            part = _resample(buffer[..., : step + 2 * reach], up, down)
            part = part[..., reach * up // down : (reach + step) * up // down]
            num_sent += part.shape[-1]
            yield part
            buffer = buffer[..., step:]
    num_left = -(-num_received * up // down) - num_sent
    if buffer is not None and num_left > 0:
        yield _resample(buffer, up, down)[..., reach * up // down :][..., :num_left]


def _resample(waveforms: torch.Tensor, up: int, down: int) -> torch.Tensor:
    try:
        from scipy.signal import resample_poly
    except ImportError as error:
        raise ImportError(SCIPY_MISSING) from error
    samples = waveforms.numpy()
    resampled = resample_poly(samples, up, down, axis=-1, window=_design_filter(max(up, down), samples.dtype.str))
    return torch.from_numpy(resampled).float()


@lru_cache(maxsize=4)
def _design_filter(max_rate: int, dtype: str) -> np.ndarray:
    """The filter that SciPy's `resample_poly` would design anew for every block: seconds, for rates without a common divisor."""
    try:
        from scipy.signal import firwin
    except ImportError as error:
        raise ImportError(SCIPY_MISSING) from error
    return firwin(20 * max_rate + 1, 1 / max_rate, window=("kaiser", 5.0)).astype(dtype)


def resample(waveforms: torch.Tensor, source_rate: int, target_rate: int) -> torch.Tensor:
    """[`resample_blocks`] for a recording in memory, (..., num_samples) -> (..., resampled length)"""
    return torch.cat(list(resample_blocks([waveforms], source_rate, target_rate)), dim=-1)


__all__ = ["SCIPY_MISSING", "resample", "resample_blocks"]
