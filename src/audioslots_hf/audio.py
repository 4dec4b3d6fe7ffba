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
"""Reading of audio files in blocks, and atomic writing of tracks."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path

import soundfile
import torch
from transformers.utils.logging import get_logger

from .channels import ChannelMixer
from .files import as_system_path, replacing_all, working_folder
from .recordings import BLOCK_S, open_sound
from .sound import Sound
from .suffixes import AUDIO_SUFFIXES, FORMAT_SUFFIXES, TRACK_FORMATS


logger = get_logger(__name__)

# 64 MiB in float32, for any rate and number of channels
MAX_BLOCK_VALUES = 2**24
# These are written only in whole blocks, which can make a file longer.
BLOCK_SUBTYPES = (
    "IMA_ADPCM",
    "MS_ADPCM",
    "GSM610",
    "NMS_ADPCM_16",
    "NMS_ADPCM_24",
    "NMS_ADPCM_32",
    "G721_32",
    "G723_24",
)
# Subtypes that can represent samples beyond +-1.
FLOAT_SUBTYPES = ("FLOAT", "DOUBLE")
# Their codecs change peaks: decoded samples may exceed those that were encoded.
LOSSY_SUBTYPES = ("VORBIS", "OPUS", "MPEG_LAYER_III")
# With less space left, what could not be written failed for lack of it.
MIN_FREE_BYTES = 2**20


class AudioFile:
    """
    An audio file open for reading: `sampling_rate`, `num_channels`, and its samples in blocks.

    Args:
        sound ([`Sound`]):
            The open file.
        path (`Path`):
            The path from the user, for messages.
        mix (`bool`, *optional*, defaults to `False`):
            Whether to read the mean of the channels, as one channel.
    """

    def __init__(self, sound: Sound, path: Path, mix: bool = False):
        self.sound = sound
        self.path = path
        self.mixer = ChannelMixer() if mix else None
        self.sampling_rate = sound.sampling_rate
        self.num_channels = 1 if mix else sound.num_channels

    @property
    def expected_samples(self) -> int | None:
        """Approximate number of samples, for a progress bar; `None` if the file does not declare it."""
        return self.sound.expected_samples

    @cached_property
    def num_samples(self) -> int:
        """Number of samples. A file that does not declare it is decoded an additional time."""
        if self.sound.num_samples is not None:
            return self.sound.num_samples
        with open_sound(self.path, str(self.path)) as sound:
            sound.is_read_again = True
            return sum(len(block) for block in sound.read(BLOCK_S * sound.sampling_rate))

    def blocks(self) -> Iterator[torch.Tensor]:
        """
        Successive float32 parts `(num_channels, num_samples)`.

        Raises:
            `ValueError`: the file is truncated, cannot be decoded, or contains NaN or infinite samples.
        """
        num_read = 0
        block_length = max(1, min(BLOCK_S * self.sampling_rate, MAX_BLOCK_VALUES // self.sound.num_channels))
        for samples in self.sound.read(block_length):
            block = torch.from_numpy(samples.T.copy())
            if not torch.isfinite(block).all():
                raise ValueError(f"{self.path} holds NaN or infinite samples after sample {num_read}.")
            num_read += len(samples)
            yield block if self.mixer is None else self.mixer.mix(block)

    def read_start(self, duration_s: float) -> torch.Tensor:
        """The first seconds, float32 `(num_channels, num_samples)`."""
        wanted, parts = round(duration_s * self.sampling_rate), []
        for block in self.blocks():
            parts.append(block[:, : wanted - sum(part.shape[1] for part in parts)])
            if parts[-1].shape[1] < block.shape[1] or sum(part.shape[1] for part in parts) == wanted:
                break
        return torch.cat(parts, dim=1)


@contextmanager
def open_audio(
    path: Path, mix: bool = False, may_change: bool = False, is_read_again: bool = False
) -> Iterator[AudioFile]:
    """
    Open a file, or with `mix` the mean of its channels, for reading, in any format that libsndfile or FFmpeg supports.

    With `may_change` another file may take its name meanwhile, as the tracks of a second run do; otherwise this is an error. If
    it `is_read_again`, its faults are not logged once more.

    Raises:
        `FileNotFoundError`, `ValueError`: the file cannot be read; the message names the file, the fault and the fix.
    """
    with open_sound(path, str(path), may_change) as sound:
        sound.is_read_again = is_read_again
        yield AudioFile(sound, path, mix)


def output_format(audio: AudioFile, track_format: str | None = None) -> tuple[str, str, str]:
    """
    Suffix, soundfile format and subtype for an output like the input; 16-bit wav if its format cannot be written.

    Args:
        audio ([`AudioFile`]):
            The input.
        track_format (`str`, *optional*):
            Name of another format, of [`~suffixes.TRACK_FORMATS`]. Lossless formats keep the precision of the input.

    Raises:
        `ValueError`: the wanted format does not support this rate or number of channels.
    """
    if track_format is not None:
        return _wanted_format(audio, track_format)
    file_format, subtype, suffix = audio.sound.file_format, audio.sound.subtype, audio.path.suffix
    if file_format is None or not soundfile.check_format(file_format, subtype):
        return ".wav", "WAV", "PCM_16"
    if not _can_write((suffix, file_format, subtype), audio.sampling_rate, audio.num_channels):
        return ".wav", "WAV", "PCM_16"
    # the suffix of another format would be misleading
    own = FORMAT_SUFFIXES.get(file_format, (suffix,))
    is_misleading = suffix.lower() in AUDIO_SUFFIXES and suffix.lower() not in own
    return (own[0] if is_misleading else suffix), file_format, subtype


def _wanted_format(audio: AudioFile, track_format: str) -> tuple[str, str, str]:
    """Suffix, soundfile format and subtype for a format that the user named."""
    suffix, file_format, subtype = TRACK_FORMATS[track_format]
    own = audio.sound.subtype or ""
    if subtype == "PCM_16" and own in ("PCM_24", "PCM_32", *FLOAT_SUBTYPES):
        subtype = own if soundfile.check_format(file_format, own) else "PCM_24"
    if not _can_write((suffix, file_format, subtype), audio.sampling_rate, audio.num_channels):
        raise ValueError(
            f"{audio.path} has {audio.sampling_rate} Hz and {audio.num_channels} channels, which {track_format} does not support: "
            "choose another format of the tracks."
        )
    return suffix, file_format, subtype


def _can_write(found: tuple[str, str, str], sampling_rate: int, num_channels: int) -> bool:
    """Whether the codec supports this rate and number of channels, determined by a trial."""
    with tempfile.TemporaryFile() as file:
        try:
            soundfile.SoundFile(file, "w", sampling_rate, num_channels, found[2], format=found[1]).close()
        except (soundfile.SoundFileError, ValueError):
            return False
    return True


@contextmanager
def _explaining_full_disks(folder: Path) -> Iterator[None]:
    """Turn what libsndfile says of a failed write, "System error", into an `OSError` with the reason."""
    try:
        yield
    # soundfile asserts that all samples were written
    except (soundfile.LibsndfileError, AssertionError) as error:
        if shutil.disk_usage(folder).free < MIN_FREE_BYTES or _lacks_names(folder):
            raise OSError(
                f"The disk that holds {folder} is full: free some space, or choose another folder."
            ) from error
        raise OSError(
            f"The tracks cannot be written to {folder} ({error or 'not all samples were written'}): the disk fails, or a quota "
            "or a limit of file sizes is reached."
        ) from error


def _lacks_names(folder: Path) -> bool:
    """Whether a disk takes no further files, though it has space."""
    if not hasattr(os, "statvfs"):
        return False
    status = os.statvfs(folder)
    return status.f_files > 0 and status.f_favail == 0


class TrackWriter:
    """
    Collects the blocks of every source, and writes all files at the end, once their common gain is known.

    Until then the samples are stored in a temporary folder beside the outputs, in floating point. An interrupted run leaves no
    output.

    Args:
        paths (`list` of `Path`):
            One output per source.
        sampling_rate (`int`):
            In hertz.
        num_channels (`int`):
            Number of channels of each output.
        file_format (`str`), subtype (`str`):
            Names of soundfile.
    """

    def __init__(self, paths: list[Path], sampling_rate: int, num_channels: int, file_format: str, subtype: str):
        self.paths = paths
        self.sampling_rate = sampling_rate
        self.num_channels = num_channels
        self.file_format = file_format
        self.subtype = subtype
        self.peak = 0.0

    def __enter__(self):
        with ExitStack() as stack:
            self.folder = stack.enter_context(working_folder(self.paths[0].parent))
            with _explaining_full_disks(self.paths[0].parent):
                self.files = [self._create(self.folder / f"{index}.w64") for index in range(len(self.paths))]
            for file in self.files:
                stack.callback(file.close)
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *exception):
        self.stack.__exit__(*exception)

    def _create(self, path: Path) -> soundfile.SoundFile:
        return soundfile.SoundFile(
            as_system_path(path), "w+", self.sampling_rate, self.num_channels, "FLOAT", format="W64"
        )

    def write(self, block: torch.Tensor) -> None:
        """Append `(num_channels, num_sources, num_samples)`."""
        self.peak = max(self.peak, block.abs().max().item() if block.numel() else 0.0)
        for file, source in zip(self.files, block.unbind(dim=1), strict=True):
            with _explaining_full_disks(self.paths[0].parent):
                file.write(source.T.numpy())

    @property
    def num_samples(self) -> int:
        """Number of samples so far."""
        return self.files[0].frames

    @property
    def gain(self) -> float:
        """Common factor of all sources that prevents clipping; 1 for floating-point outputs."""
        if self.subtype in FLOAT_SUBTYPES or self.peak <= 1.0:
            return 1.0
        # the largest value of 16 bit PCM is one step below 1
        return (1 - 2**-15) / self.peak

    def save(self) -> None:
        """Write every output, then rename all of them."""
        with replacing_all(self.paths) as temporaries, _explaining_full_disks(self.paths[0].parent):
            self._write_all(temporaries)
            if (
                self.subtype in BLOCK_SUBTYPES
                and soundfile.info(as_system_path(temporaries[0])).frames != self.files[0].frames
            ):
                logger.warning(
                    f"{self.paths[0].parent}: {self.subtype} would make the tracks longer: they have 16 bits."
                )
                self.subtype = "PCM_16"
                self._write_all(temporaries)

    def _write_all(self, paths: list[Path]) -> None:
        for path, source in zip(paths, self.files, strict=True):
            source.seek(0)
            with soundfile.SoundFile(
                as_system_path(path), "w", self.sampling_rate, self.num_channels, self.subtype, format=self.file_format
            ) as output:
                for samples in source.blocks(BLOCK_S * self.sampling_rate, dtype="float32", always_2d=True):
                    output.write(samples * self.gain)


__all__ = [
    "AudioFile",
    "BLOCK_SUBTYPES",
    "FLOAT_SUBTYPES",
    "LOSSY_SUBTYPES",
    "MIN_FREE_BYTES",
    "MAX_BLOCK_VALUES",
    "TrackWriter",
    "open_audio",
    "output_format",
]
