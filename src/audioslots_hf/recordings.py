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
"""A recording in any of the forms people hold one in -> checked waveforms and what to give back."""

import http.client
import io
import mmap
import re
import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .mp3 import with_length
from .suffixes import FFMPEG_SUFFIXES
from .waveforms import to_waveform


DOWNLOAD_TIMEOUT_S = 30


@dataclass
class Recording:
    """
    Audio in memory and the form it came in.

    Args:
        waveforms (`torch.Tensor` of shape `(num_channels, num_samples)`):
            Float32 samples.
        sampling_rate (`int`):
            In hertz.
        layout (`str`):
            What the user passed: `"mono"` for `(num_samples,)`, `"channels_first"` or `"channels_last"`.
    """

    waveforms: torch.Tensor
    sampling_rate: int
    layout: str

    def restore_layout(self, waveforms: torch.Tensor) -> np.ndarray:
        """(num_channels, num_samples) -> float32 array in the form the recording came in."""
        if self.layout == "mono":
            return waveforms[0].numpy()
        return waveforms.numpy() if self.layout == "channels_first" else waveforms.T.numpy()


def load_recording(audio: Any, sampling_rate: int) -> Recording:
    """
    Read a recording.

    Args:
        audio:
            A path, a URL, the bytes of a file, an array or tensor, a dictionary with `"array"` or `"raw"` and
            `"sampling_rate"`, or a row of a `datasets` set (with or without its `"audio"` column around it, decoded or
            not). Two-dimensional arrays hold the channels along the shorter dimension.
        sampling_rate (`int`):
            Sampling rate in hertz of a bare array or tensor.

    Raises:
        `FileNotFoundError`, `ValueError`: with what is wrong and what to do.
    """
    if isinstance(audio, Mapping):
        return _load_mapping(audio, sampling_rate)
    if isinstance(audio, str) and audio.startswith(("http://", "https://")):
        return _read_bytes(_download(audio), name=audio)
    if isinstance(audio, str | Path):
        if not Path(audio).is_file():
            raise FileNotFoundError(f"The audio file {audio} does not exist.")
        with open_recording(Path(audio)) as sound:
            return _read_sound(sound, str(audio))
    if isinstance(audio, bytes | bytearray):
        return _read_bytes(bytes(audio), name="the given bytes")
    if isinstance(audio, np.ndarray | torch.Tensor):
        return _from_array(audio, sampling_rate)
    # torchcodec's decoder, which `datasets` hands out for an Audio column
    if hasattr(audio, "get_all_samples"):
        samples = audio.get_all_samples()
        return _from_array(samples.data, samples.sample_rate)
    # a column of plain numbers in a row of `datasets`
    if isinstance(audio, list):
        return _from_array(np.asarray(audio), sampling_rate)
    raise ValueError(
        f"Audio of type {type(audio).__name__} is not supported: give a path, a URL, bytes, an array, a tensor or a "
        "dictionary with 'array' and 'sampling_rate'."
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
    # NumPy's own integers would overflow where lengths are computed from them
    if not sampling_rate > 0 or sampling_rate % 1 != 0:
        raise ValueError(f"`sampling_rate` is {sampling_rate}: it must be a positive whole number of hertz.")
    sampling_rate = int(sampling_rate)
    waveform = to_waveform(array).cpu()
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
def open_recording(path: Path) -> Iterator[Any]:
    """
    Open a file with soundfile, for reading; what soundfile does not know is decoded by ffmpeg first.

    Raises:
        `ValueError`: it is no audio, or is not complete, or needs ffmpeg, which is not there.
    """
    if path.suffix.lower() not in FFMPEG_SUFFIXES:
        with open_sound(path, str(path)) as sound:
            yield sound
        return
    with tempfile.TemporaryDirectory() as folder:
        decoded = Path(folder) / "decoded.w64"
        _decode_with_ffmpeg(path, decoded)
        with open_sound(decoded, str(path)) as sound:
            yield sound


def _decode_with_ffmpeg(path: Path, decoded: Path) -> None:
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        raise ValueError(
            f"{path} is a {path.suffix} file, which needs ffmpeg: install ffmpeg, or convert the file to wav or flac."
        )
    command = [
        ffmpeg,
        "-nostdin",
        "-v",
        "error",
        "-i",
        str(path),
        "-vn",
        "-c:a",
        "pcm_f32le",
        "-f",
        "w64",
        str(decoded),
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ValueError(f"{path} cannot be decoded by ffmpeg: {reason}")


def open_sound(file: Any, name: str) -> Any:
    """
    Open a path or file object with soundfile, for reading.

    Raises:
        `ValueError`: the file is no audio, holds no samples, or is shorter than its header says.
    """
    try:
        import soundfile
    except ImportError as error:
        raise ImportError("Reading audio files needs soundfile: pip install soundfile") from error
    try:
        sound = soundfile.SoundFile(file)
        if sound.format == "MP3" and (content := with_length(_read_content(file))) is not None:
            sound.close()
            sound = soundfile.SoundFile(io.BytesIO(content))
    except (soundfile.SoundFileError, TypeError) as error:
        # TypeError: a file named .raw, which has no header
        reason = str(error)
        if isinstance(file, str | Path) and Path(file).is_file() and "does not exist" in reason:
            # what libsndfile says of an mp3 in which it finds no frame
            reason = "it is empty, or not in the format of its name."
        raise ValueError(f"{name} cannot be read as audio: {reason}") from error
    try:
        _check_complete(sound, name)
    except ValueError:
        sound.close()
        raise
    return sound


def _read_content(file: Any) -> bytes | mmap.mmap:
    if isinstance(file, io.BytesIO):
        return file.getvalue()
    # of a file that says how long it is, only the first frame is looked at
    with open(file, "rb") as content:
        return mmap.mmap(content.fileno(), 0, access=mmap.ACCESS_READ)


def _check_complete(sound: Any, name: str) -> None:
    # libsndfile shortens a truncated wav, aiff, au, rf64 or w64 to what is there and says so only in its log
    if match := re.search(r"(?:data|SSND|Data Size|Riff size|riff) +: (\d+) \(should be (\d+)\)", sound.extra_info):
        promised, present = int(match[1]), int(match[2])
        # a streamed wav promises the largest size there is (SoX: 0x7FFFF000, ffmpeg: 0xFFFFFFFF)
        if present < promised < 0x7FFFF000:
            raise ValueError(
                f"{name} is truncated: its header promises {promised} bytes of samples, it holds {present}."
            )
    if sound.frames == 0:
        raise ValueError(f"{name} is empty: it holds no samples.")
    # libsndfile's mark for a flac that was written to a pipe
    if sound.frames == 2**63 - 1:
        raise ValueError(f"{name} does not say how long it is: convert it first, for instance with ffmpeg.")


def read_samples(sound: Any, name: str, start: int = 0, num_samples: int = -1) -> np.ndarray:
    """
    The next samples of an open file (by default all the rest), float32 `(num_samples, num_channels)`.

    Args:
        sound (`soundfile.SoundFile`):
            The open file.
        name (`str`):
            What the user named, for messages.
        start (`int`, *optional*, defaults to 0):
            How many samples were read before. Some files, as those of voice mail, cannot be asked.
        num_samples (`int`, *optional*, defaults to -1):
            How many to read.

    Raises:
        `ValueError`: the file breaks off or cannot be decoded.
    """
    wanted = sound.frames - start if num_samples < 0 else min(num_samples, sound.frames - start)
    try:
        samples = sound.read(wanted, dtype="float32", always_2d=True)
    # soundfile's own errors, without importing it here
    except RuntimeError as error:
        raise ValueError(f"{name} cannot be decoded after sample {start}: {error}") from error
    if len(samples) < wanted:
        raise ValueError(
            f"{name} is truncated: its header promises {sound.frames} samples, it holds {start + len(samples)}."
        )
    return samples


def _read_bytes(content: bytes, name: str) -> Recording:
    with open_sound(io.BytesIO(content), name) as sound:
        return _read_sound(sound, name)


def _read_sound(sound: Any, name: str) -> Recording:
    samples = read_samples(sound, name)
    if samples.shape[1] == 1:
        return _from_array(samples[:, 0], sound.samplerate)
    # by name, not by which dimension is shorter: a file may hold less samples than channels
    waveforms = to_waveform(samples).T.contiguous()
    return Recording(waveforms, sound.samplerate, "channels_first")


def _download(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=DOWNLOAD_TIMEOUT_S) as response:
            return response.read()
    except (OSError, http.client.HTTPException) as error:
        raise ValueError(f"{url} cannot be downloaded: {error}") from error
