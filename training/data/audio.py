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
"""Reading of audio files, whole or in part, at any sampling rate."""

import math
import os
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import soundfile
from scipy.signal import resample_poly

from audioslots_hf.files import replacing
from audioslots_hf.sndfile import check_length
from audioslots_hf.suffixes import SOUNDFILE_SUFFIXES

from ..settings import SettingsError


# formats in which soundfile can read any span
AUDIO_SUFFIXES = SOUNDFILE_SUFFIXES

File = str | Path | BinaryIO


class AudioError(SettingsError):
    """A file that cannot be used as audio, with the reason."""


class Header(NamedTuple):
    """The properties of a file that are known without decoding it."""

    num_samples: int
    sampling_rate: int

    def __str__(self) -> str:
        return f"{self.num_samples} samples at {self.sampling_rate} Hz"

    @property
    def duration_s(self) -> float:
        """In seconds."""
        return self.num_samples / self.sampling_rate

    def length(self, sampling_rate: int) -> int:
        """Number of samples that the file has at another rate."""
        up, down = lowest_terms(sampling_rate, self.sampling_rate)
        return -(-self.num_samples * up // down)


class SpanFile(soundfile.SoundFile):
    """A file for reading one span."""

    def seekable(self) -> bool:
        """False: soundfile would otherwise seek to its own position around each read, which takes longer than reading a FLAC file."""
        return False


def open_file(file: File) -> SpanFile:
    """
    Open an audio file for reading.

    Raises:
        `AudioError`: the file is missing or not audio.
    """
    try:
        return SpanFile(file)
    except (soundfile.SoundFileError, OSError) as error:
        raise AudioError(f"{file} cannot be read as audio: {error}") from error


def read_header(file: File) -> Header:
    """
    Open a file for its header alone.

    Raises:
        `AudioError`: the file is missing, not audio, or empty.
    """
    with open_file(file) as sound:
        if sound.frames == 0:
            raise AudioError(f"{file} is empty: leave it out.")
        if isinstance(file, str | Path):
            try:
                check_length(sound, str(file), os.path.getsize(file))
            except ValueError as error:
                raise AudioError(str(error)) from error
        return Header(sound.frames, sound.samplerate)


def audio_length(file: File, sampling_rate: int) -> int:
    """Number of samples that a file has at `sampling_rate`, from its header."""
    return read_header(file).length(sampling_rate)


def read_audio(
    file: File, sampling_rate: int, start: int = 0, num_samples: int | None = None, channel: int | None = None
) -> np.ndarray:
    """
    Read a file, or a span of it, as mono float32 at `sampling_rate`.

    Only the span is decoded. It equals the same span of the whole file resampled by `scipy.signal.resample_poly`.

    Args:
        file (`str`, `Path` or binary file):
            Any format that soundfile reads.
        sampling_rate (`int`):
            Sampling rate of the result, in hertz.
        start (`int`, *optional*, defaults to 0):
            First sample, counted at `sampling_rate`.
        num_samples (`int`, *optional*):
            Length of the span at `sampling_rate`, which is cut at the end of the file. By default to the end.
        channel (`int`, *optional*):
            The channel to read; by default the mean of all.

    Raises:
        `AudioError`: the file is missing, not audio, empty, or contains NaN or infinite samples.
    """
    with open_file(file) as sound:
        up, down = lowest_terms(sampling_rate, sound.samplerate)
        length = -(-sound.frames * up // down)
        stop = length if num_samples is None else min(length, start + num_samples)
        if 0 < length <= start:
            return np.zeros(0, np.float32)
        first, last = span_before_resampling(start, stop, up, down)
        try:
            if first > 0:
                # seeking in a FLAC file takes as long as opening it, even to the present position
                sound.seek(min(first, sound.frames))
            audio = np.empty((max(0, min(last, sound.frames) - first), sound.channels), np.float32)
            # soundfile's `read` takes 5 % longer for half a second
            audio = audio[: sound.buffer_read_into(audio, "float32")]
        except soundfile.SoundFileError as error:
            raise AudioError(f"{file} cannot be read as audio: {error}") from error
    if audio.shape[1] == 1:
        channel = 0
    audio = audio.mean(axis=1) if channel is None else audio[:, channel]
    if len(audio) == 0 or not np.isfinite(audio).all():
        raise AudioError(f"{file} is empty or contains NaN or infinite samples: leave it out.")
    if up == down:
        return audio
    offset = start - first * up // down
    return resample_poly(audio, up, down)[offset : offset + stop - start]


def opus_level(bit_rate: float) -> float:
    """
    The compression level of libsndfile for a bit rate in kbit/s.

    Raises:
        `SettingsError`: Opus does not support the bit rate.
    """
    if not 6 <= bit_rate <= 256:
        raise SettingsError(f"The bit rate is {bit_rate:g} kbit/s: Opus needs 6 to 256.")
    return 1 - (bit_rate - 6) / 250


def write_opus(path: Path, audio: np.ndarray, level: float) -> None:
    """Write mono audio at 16 kHz, atomically."""
    with replacing(path) as temporary:
        soundfile.write(temporary, audio, 16000, format="OGG", subtype="OPUS", compression_level=level)


def lowest_terms(sampling_rate: int, original_rate: int) -> tuple[int, int]:
    """The factors `up` and `down` of resampling, in lowest terms."""
    divisor = math.gcd(sampling_rate, original_rate)
    return sampling_rate // divisor, original_rate // divisor


def span_before_resampling(start: int, stop: int, up: int, down: int) -> tuple[int, int]:
    """The span of a file from which `resample_poly` computes `start` to `stop`; its first sample lies on the output grid."""
    if up == down:
        return start, stop
    # one-sided length of SciPy's filter, at `up` times the rate of the file
    half_length = 10 * max(up, down)
    first = max(0, (start * down - half_length) // up // down * down)
    return first, (stop * down + half_length) // up + 1
