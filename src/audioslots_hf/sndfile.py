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
"""Files that libsndfile reads: lossless samples, and formats that declare their length."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .containers import file_size
from .files import as_system_path
from .sound import Sound, TruncatedError


# a streamed wav declares the largest size (SoX: 0x7FFFF000, ffmpeg: 0xFFFFFFFF)
STREAMED_BYTES = 0x7FFFF000
# an mp3 inside, whose length libsndfile estimates
INEXACT_SUBTYPES = ("MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III")


class Unnamed:
    """A file without its name, because soundfile would choose a format by the name."""

    def __init__(self, file: BinaryIO):
        self.read, self.readinto, self.seek, self.tell = file.read, file.readinto, file.seek, file.tell


class SndfileSound(Sound):
    """
    A file that libsndfile decodes.

    Raises:
        `ValueError`: the file is not audio, or is shorter than its header declares.
    """

    def __init__(self, file: BinaryIO, name: str, path: Path | None = None):
        super().__init__(file, name, path)
        soundfile = _import_soundfile()
        file.seek(0)
        try:
            # without a path libsndfile calls Python for every part that it reads
            is_named = path is not None and path.suffix.lower() not in (".raw", ".gsm", ".vox")
            self.sound = soundfile.SoundFile(as_system_path(path) if is_named else Unnamed(file))
        except (soundfile.SoundFileError, TypeError) as error:
            raise ValueError(f"{name} cannot be read as audio: {_describe(error)}") from error
        self.sampling_rate, self.num_channels = self.sound.samplerate, self.sound.channels
        self.num_samples = self.expected_samples = self.sound.frames
        self.file_format, self.subtype = self.sound.format, self.sound.subtype
        self.is_exact = self.subtype not in INEXACT_SUBTYPES and self.num_samples > 0
        try:
            self.notes += check_length(self.sound, name, file_size(file))
        except ValueError:
            self.close()
            raise

    def decode(self, block_length: int) -> Iterator[np.ndarray]:
        num_read = 0
        while num_read < self.num_samples:
            wanted = min(block_length, self.num_samples - num_read)
            try:
                samples = self.sound.read(wanted, dtype="float32", always_2d=True)
            # soundfile's own errors
            except RuntimeError as error:
                raise ValueError(f"{self.name} cannot be decoded after sample {num_read}: {error}") from error
            num_read += len(samples)
            if len(samples) < wanted:
                raise TruncatedError(
                    f"{self.name} is truncated: its header promises {self.num_samples} samples, it holds {num_read}."
                )
            yield samples

    def close(self) -> None:
        self.sound.close()


def check_length(sound: Any, name: str, num_bytes: int) -> list[str]:
    """
    Compare the declared number of samples of an open file with the actual one.

    Args:
        sound ([`soundfile.SoundFile`]):
            The open file.
        name (`str`):
            Name of the file, for messages.
        num_bytes (`int`):
            Size of the file.

    Returns:
        A warning if the header is wrong but no samples are missing.

    Raises:
        `TruncatedError`: samples are missing.
    """
    # libsndfile cuts a truncated wav, aiff, au, rf64 or w64 at its end, and reports this only in its log
    match = re.search(r"(?:data|SSND|Data Size|Riff size|riff) +: (\d+) \(should be (\d+)\)", sound.extra_info)
    if match is None:
        return []
    promised, present = int(match[1]), int(match[2])
    if num_bytes < promised < STREAMED_BYTES:
        raise TruncatedError(
            f"{name} is truncated: its header promises {promised} bytes of samples, it holds {present}."
        )
    if present < promised < STREAMED_BYTES:
        return [
            f"promises {promised} bytes of samples and holds {present}, as if its header were counted: all are read."
        ]
    return []


def _describe(error: Exception) -> str:
    """A message of soundfile without the name, which it puts before the reason."""
    return str(getattr(error, "error_string", "") or error)


def _import_soundfile() -> Any:
    """Import the library, or raise an `ImportError` that names the fix."""
    try:
        import soundfile
    except ImportError as error:
        raise ImportError("Reading audio files needs soundfile: pip install soundfile") from error
    return soundfile


__all__ = ["INEXACT_SUBTYPES", "STREAMED_BYTES", "SndfileSound", "Unnamed", "check_length"]
