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
"""An audio file that is open for reading, with any decoding library."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from transformers.utils.logging import get_logger

from .bounds import check_duration, check_form


logger = get_logger(__name__)


class TruncatedError(ValueError):
    """A file that is shorter than its header declares."""


class Sound(ABC):
    """
    An open file: its format, and its samples from first to last.

    Args:
        file (`BinaryIO`):
            The file.
        name (`str`):
            Name of the file, for messages.
        path (`Path`, *optional*):
            Path of the file, if it is on disk, to detect changes during reading.
    """

    sampling_rate: int
    num_channels: int
    # number of samples by the header, if it is reliable
    num_samples: int | None = None
    # for a progress bar
    expected_samples: int | None = None
    # soundfile's names for files of this kind; `None` if soundfile cannot write it
    file_format: str | None = None
    subtype: str | None = None
    # whether decoding gives all samples of the file
    is_exact: bool = True

    def __init__(self, file: BinaryIO, name: str, path: Path | None = None):
        self.file = file
        self.name = name
        self.path = path
        self.notes: list[str] = []
        # faults found in reading, as sentences; logged unless this is a further reading of the same file
        self.warnings: list[str] = []
        self.is_read_again = False
        self.state = self._read_state()

    @abstractmethod
    def decode(self, block_length: int) -> Iterator[np.ndarray]:
        """All samples in parts of any lengths, float32 `(num_samples, num_channels)`."""

    @abstractmethod
    def close(self) -> None:
        """Close the decoder."""

    def check_form(self) -> None:
        """Raise a `ValueError` if the rate, the channels or the length of the file are implausible."""
        check_form(self.name, self.sampling_rate, self.num_channels)
        if self.num_samples is not None:
            check_duration(self.name, self.num_samples, self.sampling_rate, self.num_channels)

    def read(self, block_length: int) -> Iterator[np.ndarray]:
        """
        Successive parts of `block_length` samples, the last one shorter: float32 `(num_samples, num_channels)`.

        Warnings about the file are collected at the end, and logged unless it is read again.

        Raises:
            `ValueError`: the file is truncated, cannot be decoded, has no samples or too many, or changed during reading.
        """
        num_samples = 0
        for block in _regroup(self.decode(block_length), block_length):
            num_samples += len(block)
            check_duration(self.name, num_samples, self.sampling_rate, self.num_channels)
            yield block
        if num_samples == 0:
            raise ValueError(f"{self.name} is empty: it holds no samples.")
        if self._read_state() != self.state:
            raise ValueError(f"{self.name} changed while it was read: try again when it is complete.")
        warnings = [f"{self.name} {note}" for note in self.notes]
        self.notes.clear()
        self.warnings += warnings
        for warning in () if self.is_read_again else warnings:
            logger.warning(warning)

    def _read_state(self) -> tuple[int, int, int] | None:
        if self.path is None:
            return None
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns


def _regroup(parts: Iterable[np.ndarray], length: int) -> Iterator[np.ndarray]:
    """Parts of any lengths -> the same samples in parts of one length, the last one shorter."""
    waiting, num_waiting = [], 0
    for part in parts:
        waiting.append(part)
        num_waiting += len(part)
        if num_waiting < length:
            continue
        joined = np.concatenate(waiting) if len(waiting) > 1 else part
        num_whole = num_waiting // length * length
        yield from (joined[start : start + length] for start in range(0, num_whole, length))
        waiting, num_waiting = [joined[num_whole:]], num_waiting - num_whole
    if num_waiting:
        yield np.concatenate(waiting)


__all__ = ["Sound", "TruncatedError"]
