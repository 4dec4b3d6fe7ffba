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
"""How far a separation is, and how another thread cancels it."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from transformers.utils.logging import tqdm


class SeparationCancelled(Exception):  # noqa: N818, it is no error
    """A separation was cancelled by its caller, and wrote nothing."""


class Progress:
    """
    Tells a caller how far a separation is, and stops it when the caller wishes.

    Args:
        on_progress (callable, *optional*):
            Called with the finished fraction: 0 at the start, then growing numbers below 1, and 1 at the end. It runs in the thread
            of the separation, and an error in it ends the separation.
        cancel (`threading.Event`, *optional*):
            Once another thread sets it, the separation raises [`SeparationCancelled`] before its next batch of chunks.
        num_passes (`int`, *optional*, defaults to 1):
            Number of passes over the recording.
    """

    def __init__(
        self,
        on_progress: Callable[[float], None] | None = None,
        cancel: threading.Event | None = None,
        num_passes: int = 1,
    ):
        self.on_progress = on_progress
        self.cancel = cancel
        self.num_passes = num_passes
        self.num_finished = 0
        self._reported = -1.0
        self.report(0.0)

    def report(self, fraction: float) -> None:
        """
        Report the finished fraction of the current pass.

        Raises:
            `SeparationCancelled`: the caller cancelled the separation.
        """
        if self.cancel is not None and self.cancel.is_set():
            raise SeparationCancelled("The separation was cancelled.")
        total = (self.num_finished + fraction) / self.num_passes
        # the first block of a pass begins where the pass before it ended
        if self.on_progress is not None and fraction < 1 and total > self._reported:
            self._reported = total
            self.on_progress(total)

    def watch(self, blocks: Iterable[torch.Tensor], num_samples: int | None) -> Iterator[torch.Tensor]:
        """
        Pass on the blocks `(num_channels, num_samples)` of one pass, and report each when the next is asked for.

        Args:
            blocks (iterable of `torch.Tensor`):
                Successive parts of a recording.
            num_samples (`int`, *optional*):
                Length of the recording in samples; if it is unknown, only ends of passes are reported.
        """
        done = 0
        for block in blocks:
            self.report(min(done / num_samples, 1.0) if num_samples else 0.0)
            yield block
            done += block.shape[-1]
        self.report(1.0)

    def finish_pass(self) -> None:
        """End a pass, after all of its batches."""
        self.num_finished += 1
        if self.num_finished < self.num_passes:
            self.report(0.0)

    def finish(self) -> None:
        """Report the end of the separation, whose results are complete."""
        if self.on_progress is not None:
            self.on_progress(1.0)


@contextmanager
def showing_progress(
    on_progress: Callable[[float], None] | None, is_shown: bool
) -> Iterator[Callable[[float], None] | None]:
    """A function that reports finished fractions to `on_progress`, and shows them as a bar."""
    if not is_shown:
        yield on_progress
        return
    with tqdm(
        total=100, desc="Separating", bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"
    ) as bar:

        def report(fraction: float) -> None:
            bar.update(100 * fraction - bar.n)
            if on_progress is not None:
                on_progress(fraction)

        yield report


def cut_blocks(waveforms: torch.Tensor, length: int) -> Iterator[torch.Tensor]:
    """A recording in memory `(num_channels, num_samples)`, in blocks of at most `length` samples."""
    yield from waveforms.split(length, dim=-1)


__all__ = ["Progress", "SeparationCancelled", "cut_blocks", "showing_progress"]
