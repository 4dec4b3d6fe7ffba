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

import functools
import io
import math
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import soundfile
from scipy.signal import resample_poly

from audioslots_hf.bounds import check_form
from audioslots_hf.containers import is_exact, is_mpeg
from audioslots_hf.files import replacing
from audioslots_hf.mp3 import is_counted
from audioslots_hf.recordings import load_recording
from audioslots_hf.recordings import open_file as open_readable
from audioslots_hf.sndfile import INEXACT_SUBTYPES, check_length

from ..settings import SettingsError


File = str | Path | io.BytesIO
# number of files whose kind a process remembers
NUM_KNOWN_FILES = 2**16


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
    """A file in which libsndfile finds any span, and whose length it knows."""

    def seekable(self) -> bool:
        """False: soundfile would otherwise seek to its own position around each read, which takes longer than reading a FLAC file."""
        return False

    def read_span(self, first: int, last: int) -> np.ndarray:
        """Samples as float32 (last - first, num_channels)."""
        if first > 0:
            # seeking in a FLAC file takes as long as opening it, even to the present position
            self.seek(first)
        samples = np.empty((last - first, self.channels), np.float32)
        # soundfile's `read` takes 5 % longer for half a second
        num_read = self.buffer_read_into(samples, "float32")
        if num_read < last - first:
            raise ValueError(f"it is truncated: it promises {self.frames} samples, and ends after {first + num_read}")
        return samples


class DecodedFile:
    """A file decoded as a whole, by the reader of `audioslots separate`: compressed formats without a true length or an index."""

    def __init__(self, file: File):
        recording = load_recording(file.getvalue() if isinstance(file, io.BytesIO) else Path(file), 1)
        self.samples = recording.waveforms.T.numpy()
        self.samplerate = recording.sampling_rate
        self.frames, self.channels = self.samples.shape

    def read_span(self, first: int, last: int) -> np.ndarray:
        """Samples as float32 (last - first, num_channels)."""
        return self.samples[first:last]

    def __enter__(self) -> "DecodedFile":
        return self

    def __exit__(self, *exception: object) -> None:
        """Nothing is open."""


def describe_file(file: File) -> str:
    """A file for messages."""
    return "the given bytes" if isinstance(file, io.BytesIO) else str(file)


def has_spans(file: BinaryIO) -> bool:
    """Whether libsndfile reads a file as [`open_sound`] does, and also parts of it."""
    return is_exact(file) or (is_mpeg(file) and is_counted(file))


@functools.lru_cache(NUM_KNOWN_FILES)
def path_has_spans(path: Path, num_bytes: int, time_ns: int) -> bool:
    """[`has_spans`] of a file in a state, remembered because some files are read to their end for it."""
    with open_readable(path) as file:
        return num_bytes > 0 and has_spans(file)


def open_file(file: File) -> SpanFile | DecodedFile:
    """
    Open an audio file for reading.

    Files with an exact length are read in spans by libsndfile, and all others are decoded as a whole. Both give the samples that
    `audioslots separate` reads.

    Raises:
        `AudioError`: the file is missing, not audio, or has an implausible header.
    """
    try:
        sound = open_spans(file) or DecodedFile(file)
        check_form(describe_file(file), sound.samplerate, sound.channels)
        return sound
    except FileNotFoundError as error:
        raise AudioError(f"{file} does not exist.") from error
    except (ValueError, OSError) as error:
        raise AudioError(explain(file, error)) from error


def open_spans(file: File) -> SpanFile | None:
    """A file in which libsndfile finds any span, or `None` if its content says otherwise."""
    if isinstance(file, io.BytesIO):
        is_spanned = has_spans(file)
        file.seek(0)
    else:
        status = Path(file).stat()
        is_spanned = path_has_spans(Path(file), status.st_size, status.st_mtime_ns)
    if not is_spanned:
        return None
    try:
        sound = SpanFile(file)
    # a TypeError for headerless formats, which soundfile chooses by their suffix
    except (soundfile.SoundFileError, TypeError):
        return None
    if sound.frames > 0 and (sound.format == "MP3" or sound.subtype not in INEXACT_SUBTYPES):
        return sound
    sound.close()
    return None


def explain(file: File, error: Exception) -> str:
    """An error in reading, with the name of the file once."""
    name, reason = describe_file(file), str(error)
    return reason if name in reason else f"{name} cannot be read as audio: {reason}"


def read_header(file: File) -> Header:
    """
    Open a file for its header alone; files without a true length are decoded.

    Raises:
        `AudioError`: the file is missing, not audio, empty, or shorter than its header declares.
    """
    with open_file(file) as sound:
        if isinstance(sound, SpanFile):
            num_bytes = len(file.getbuffer()) if isinstance(file, io.BytesIO) else Path(file).stat().st_size
            try:
                check_length(sound, describe_file(file), num_bytes)
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

    Only the span is decoded, in formats that allow it. It equals the same span of the whole file resampled by `scipy.signal.resample_poly`.

    Args:
        file (`str`, `Path` or `io.BytesIO`):
            Any format that `audioslots separate` reads.
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
            first_read = min(first, sound.frames)
            audio = sound.read_span(first_read, max(first_read, min(last, sound.frames)))
        except (soundfile.SoundFileError, ValueError) as error:
            raise AudioError(explain(file, error)) from error
    if audio.shape[1] == 1:
        channel = 0
    audio = audio.mean(axis=1) if channel is None else audio[:, channel]
    if len(audio) == 0 or not np.isfinite(audio).all():
        raise AudioError(f"{describe_file(file)} is empty or contains NaN or infinite samples: leave it out.")
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
