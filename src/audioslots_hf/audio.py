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
"""Audio files: read in blocks, written under a temporary name, whatever format soundfile or ffmpeg knows."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import soundfile
import torch

from .files import replacing_all
from .recordings import open_recording, read_samples
from .suffixes import FFMPEG_SUFFIXES


BLOCK_S = 10
# Subtypes that hold samples beyond +-1.
FLOAT_SUBTYPES = ("FLOAT", "DOUBLE")


class AudioFile:
    """
    An audio file open for reading: `sampling_rate`, `num_channels`, `num_samples`, and how to write alike.

    Args:
        file ([`soundfile.SoundFile`]):
            The open file.
        path (`Path`):
            What the user named, for messages.
    """

    def __init__(self, file: soundfile.SoundFile, path: Path):
        self.file = file
        self.path = path
        self.sampling_rate: int = file.samplerate
        self.num_channels: int = file.channels
        self.num_samples: int = file.frames

    def blocks(self) -> Iterator[torch.Tensor]:
        """
        Successive float32 parts `(num_channels, num_samples)`.

        Raises:
            `ValueError`: the file breaks off, cannot be decoded, or holds NaN or infinite samples.
        """
        num_read = 0
        while num_read < self.num_samples:
            samples = read_samples(self.file, str(self.path), num_read, BLOCK_S * self.sampling_rate)
            block = torch.from_numpy(samples.T.copy())
            if not torch.isfinite(block).all():
                raise ValueError(f"{self.path} holds NaN or infinite samples after sample {num_read}.")
            num_read += len(samples)
            yield block


@contextmanager
def open_audio(path: Path) -> Iterator[AudioFile]:
    """
    Open a file for reading; what soundfile does not know goes through ffmpeg.

    Raises:
        `FileNotFoundError`, `ValueError`: with the file, what is wrong with it and what to do.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist.")
    with open_recording(path) as file:
        yield AudioFile(file, path)


def output_format(path: Path, sampling_rate: int, num_channels: int) -> tuple[str, str, str]:
    """
    Suffix, soundfile format and subtype for an output like the input: wav in 16 bit where that cannot be written.
    """
    if path.suffix.lower() not in FFMPEG_SUFFIXES:
        with soundfile.SoundFile(path) as file:
            found = (path.suffix, file.format, file.subtype)
        if soundfile.check_format(found[1], found[2]) and _can_write(found, sampling_rate, num_channels):
            return found
    return ".wav", "WAV", "PCM_16"


def _can_write(found: tuple[str, str, str], sampling_rate: int, num_channels: int) -> bool:
    """Whether the codec takes this rate and number of channels, which only trying tells."""
    with tempfile.TemporaryFile() as file:
        try:
            soundfile.SoundFile(file, "w", sampling_rate, num_channels, found[2], format=found[1]).close()
        except (soundfile.SoundFileError, ValueError):
            return False
    return True


class TrackWriter:
    """
    Takes the blocks of every source, and writes all files at once when their common gain is known.

    Until then the samples lie in a temporary folder beside the outputs, in floating point; an interrupted run leaves no
    output.

    Args:
        paths (`list` of `Path`):
            One output per source.
        sampling_rate (`int`):
            In hertz.
        num_channels (`int`):
            Number of channels of each output.
        file_format (`str`), subtype (`str`):
            As soundfile names them.
    """

    def __init__(self, paths: list[Path], sampling_rate: int, num_channels: int, file_format: str, subtype: str):
        self.paths = paths
        self.sampling_rate = sampling_rate
        self.num_channels = num_channels
        self.file_format = file_format
        self.subtype = subtype
        self.peak = 0.0

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix=".separating-", dir=self.paths[0].parent)
        self.files = [self._create(Path(self.folder.name) / f"{index}.w64") for index in range(len(self.paths))]
        return self

    def __exit__(self, *exception):
        for file in self.files:
            file.close()
        self.folder.cleanup()

    def _create(self, path: Path) -> soundfile.SoundFile:
        return soundfile.SoundFile(path, "w+", self.sampling_rate, self.num_channels, "FLOAT", format="W64")

    def write(self, block: torch.Tensor) -> None:
        """Append `(num_channels, num_sources, num_samples)`."""
        self.peak = max(self.peak, block.abs().max().item() if block.numel() else 0.0)
        for file, source in zip(self.files, block.unbind(dim=1), strict=True):
            file.write(source.T.numpy())

    @property
    def gain(self) -> float:
        """What all sources are multiplied by so that none clips; 1 if the output holds floating point."""
        if self.subtype in FLOAT_SUBTYPES or self.peak <= 1.0:
            return 1.0
        # the largest value of 16 bit PCM is one step below 1
        return (1 - 2**-15) / self.peak

    def save(self) -> None:
        """Write every output, then give all of them their names."""
        with replacing_all(self.paths) as temporaries:
            for temporary, source in zip(temporaries, self.files, strict=True):
                source.seek(0)
                with soundfile.SoundFile(
                    temporary, "w", self.sampling_rate, self.num_channels, self.subtype, format=self.file_format
                ) as output:
                    for samples in source.blocks(BLOCK_S * self.sampling_rate, dtype="float32", always_2d=True):
                        output.write(samples * self.gain)
