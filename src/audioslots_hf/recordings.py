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
"""Reading of recordings of any type into validated waveforms, and their original layout."""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from .bounds import check_form, check_memory
from .containers import check_wav, file_size, is_exact, is_mpeg
from .downloads import download, hide_credentials, is_url
from .ffmpeg import FfmpegSound
from .sndfile import SndfileSound
from .sound import Sound, TruncatedError
from .waveforms import to_rate, to_waveform


BLOCK_S = 10


@dataclass
class Recording:
    """
    Audio in memory, with the layout of the input.

    Args:
        waveforms (`torch.Tensor` of shape `(num_channels, num_samples)`):
            Float32 samples.
        sampling_rate (`int`):
            In hertz.
        layout (`str`):
            Layout of the input: `"mono"` for `(num_samples,)`, `"channels_first"` or `"channels_last"`.
    """

    waveforms: torch.Tensor
    sampling_rate: int
    layout: str

    @property
    def duration_s(self) -> float:
        """Its length in seconds."""
        return self.waveforms.shape[-1] / self.sampling_rate

    def restore_layout(self, waveforms: torch.Tensor) -> np.ndarray:
        """(num_channels, num_samples) -> float32 array in the layout of the input."""
        if self.layout == "mono":
            return waveforms[0].numpy()
        return waveforms.numpy() if self.layout == "channels_first" else waveforms.T.numpy()


def load_recording(audio: Any, sampling_rate: int) -> Recording:
    """
    Read a recording.

    Args:
        audio:
            A path, a URL, the bytes of a file, an open file, an array, a tensor, `(sampling_rate, array)` as gradio gives it, or
            a dictionary with `"array"` or `"raw"` and `"sampling_rate"`. A row of a `datasets` set is accepted too, or its
            `"audio"` column, decoded or not. Two-dimensional arrays have the channels along the shorter dimension.
        sampling_rate (`int`):
            Sampling rate in hertz of a bare array or tensor.

    Raises:
        `FileNotFoundError`, `ValueError`: the recording cannot be read; the message states the fault and the fix.
    """
    if isinstance(audio, Mapping):
        return _load_mapping(audio, sampling_rate)
    if isinstance(audio, str) and is_url(audio):
        return _read_bytes(download(audio), name=hide_credentials(audio))
    if isinstance(audio, str | Path):
        path = Path(audio)
        return _read_file(path, str(audio), path.stat().st_size if path.is_file() else 0)
    if isinstance(audio, bytes | bytearray):
        return _read_bytes(bytes(audio), name="the given bytes")
    if isinstance(audio, np.ndarray | torch.Tensor):
        return _from_array(audio, sampling_rate)
    # torchcodec's decoder, the value of an Audio column of `datasets`
    if hasattr(audio, "get_all_samples"):
        audio = audio.get_all_samples()
    # torchcodec's samples
    if hasattr(audio, "sample_rate") and hasattr(audio, "data"):
        return _from_array(audio.data, audio.sample_rate)
    if hasattr(audio, "read"):
        return _read_open_file(audio)
    # gradio's form
    if isinstance(audio, tuple) and len(audio) == 2 and np.ndim(audio[0]) == 0 and np.ndim(audio[1]) > 0:
        return _from_array(audio[1] if isinstance(audio[1], torch.Tensor) else np.asarray(audio[1]), audio[0])
    # a column of plain numbers in a row of `datasets`
    if isinstance(audio, list):
        return _from_array(np.asarray(audio), sampling_rate)
    raise ValueError(
        f"Audio of type {type(audio).__name__} is not supported: give a path, a URL, bytes, an open file, an array, a tensor, "
        "`(sampling_rate, array)` or a dictionary with 'array' and 'sampling_rate'."
    )


def _load_mapping(audio: Mapping, sampling_rate: int) -> Recording:
    if "audio" in audio:
        return load_recording(audio["audio"], audio.get("sampling_rate") or sampling_rate)
    for key in ("array", "raw"):
        if key in audio:
            if audio.get("sampling_rate") is None:
                raise ValueError(f"The dictionary with {key!r} has no 'sampling_rate': add it, in hertz.")
            array = audio[key]
            array = array if isinstance(array, torch.Tensor) else np.asarray(array)
            return _from_array(array, audio["sampling_rate"])
    for key in ("bytes", "path"):
        if audio.get(key) is not None:
            return load_recording(audio[key], sampling_rate)
    raise ValueError(f"The dictionary has the keys {sorted(audio)}: it needs 'array' and 'sampling_rate', or 'path'.")


def _from_array(array: np.ndarray | torch.Tensor, sampling_rate: int) -> Recording:
    sampling_rate = to_rate(sampling_rate)
    waveform = to_waveform(array).cpu()
    check_form("The audio", sampling_rate, min(waveform.shape) if waveform.ndim == 2 else 1)
    if waveform.ndim == 1:
        return Recording(waveform[None], sampling_rate, "mono")
    if waveform.ndim != 2:
        raise ValueError(
            f"Audio of shape {tuple(waveform.shape)} is not supported: give `(num_samples,)`, "
            "`(num_channels, num_samples)` or `(num_samples, num_channels)`, and a batch as a list."
        )
    if waveform.shape[0] > waveform.shape[1]:
        return Recording(waveform.T.contiguous(), sampling_rate, "channels_last")
    return Recording(waveform, sampling_rate, "channels_first")


@contextmanager
def open_sound(source: Path | bytes, name: str, may_change: bool = False) -> Iterator[Sound]:
    """
    Open a file, or its bytes, for reading: by libsndfile if it reads the content exactly, else by FFmpeg.

    A file that changes during reading is an error, unless it `may_change`.

    Raises:
        `FileNotFoundError`, `ValueError`: the file is not audio, incomplete, or has an implausible header.
    """
    with io.BytesIO(source) if isinstance(source, bytes) else open_file(source) as file:
        sound = _choose_sound(file, name, None if may_change or isinstance(source, bytes) else source)
        try:
            sound.check_form()
            yield sound
        finally:
            sound.close()


def open_file(path: Path) -> BinaryIO:
    """Open a file on a disk for reading."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise ValueError(f"{path} is a pipe or a device, which can be read only once: save it as a file first.")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: name a file.")
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist.")
    return open(path, "rb")


def _choose_sound(file: BinaryIO, name: str, path: Path | None) -> Sound:
    """Open a file with the library that reads it to its true end; if that fails, with the other."""
    if file_size(file) == 0:
        raise ValueError(f"{name} cannot be read as audio: it is empty.")
    kinds: list[type[Sound]] = [SndfileSound, FfmpegSound] if is_exact(file) else [FfmpegSound, SndfileSound]
    if is_mpeg(file):
        kinds = [FfmpegSound]
    problems: list[ValueError] = []
    notes = check_wav(file)
    for kind in kinds:
        try:
            sound = kind(file, name, path)
        except TruncatedError:
            raise
        except ValueError as error:
            problems.append(error)
            continue
        if sound.is_exact:
            sound.notes[:0] = notes
            return sound
        sound.close()
        problems.append(ValueError(f"{name} is empty: it holds no samples."))
    raise problems[0]


def _read_bytes(content: bytes, name: str) -> Recording:
    return _read_file(content, name, len(content))


def _read_open_file(file: Any) -> Recording:
    """Read a whole file that is open in binary mode, wherever it stands: a buffer just written stands at its end."""
    name = str(getattr(file, "name", "the given file"))
    if getattr(file, "closed", False):
        raise ValueError(f"{name} is closed: pass it open, or its path.")
    if hasattr(file, "seekable") and file.seekable():
        file.seek(0)
    content = file.read()
    if not isinstance(content, bytes):
        raise ValueError(f"{name} is open as text: open it in binary mode, 'rb'.")
    return _read_bytes(content, name=name)


def _read_file(source: Path | bytes, name: str, num_bytes: int) -> Recording:
    with open_sound(source, name) as sound:
        blocks, num_values = [], 0
        # memory is not allocated by the length in the header: the list grows with the decoded audio
        for block in sound.read(BLOCK_S * sound.sampling_rate):
            num_values += block.size
            check_memory(name, num_values, num_bytes)
            if not np.isfinite(block).all():
                raise ValueError(f"{name} holds NaN or infinite samples: leave it out, or replace them.")
            blocks.append(torch.from_numpy(block))
    waveforms = to_waveform(torch.cat(blocks).T.contiguous())
    # a file may have fewer samples than channels
    return Recording(waveforms, sound.sampling_rate, "mono" if len(waveforms) == 1 else "channels_first")


__all__ = ["BLOCK_S", "Recording", "load_recording", "open_file", "open_sound"]
