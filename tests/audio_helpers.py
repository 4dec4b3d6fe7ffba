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
"""Audio, files and servers that several test files use."""

import functools
import http.server
import importlib.util
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    """White noise at -20 dB, float32 of any shape."""
    return (0.1 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def tones(num_samples: int, sampling_rate: int) -> np.ndarray:
    """Two tones below 1 kHz that fade in and out, which every sampling rate from 8 kHz on carries without loss."""
    seconds = np.arange(num_samples) / sampling_rate
    fade = np.sin(np.pi * np.arange(num_samples) / num_samples) ** 2
    samples = 0.2 * np.sin(2 * np.pi * 310 * seconds) + 0.1 * np.sin(2 * np.pi * 870 * seconds)
    return (fade * samples).astype(np.float32)


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        """Say nothing."""


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """A web server on this machine alone over a folder -> its address."""
    handler = functools.partial(_QuietHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def with_unknown_length(flac: bytes) -> bytes:
    """A flac as written to a pipe: the 36 bits with its number of samples are 0."""
    head = bytearray(flac)
    head[21] &= 0xF0
    head[22:26] = bytes(4)
    return bytes(head)


def with_data_size(wav: bytes, num_bytes: int) -> bytes:
    """A wav whose header promises so many bytes of samples."""
    start = wav.index(b"data") + 4
    return wav[:start] + num_bytes.to_bytes(4, "little") + wav[start + 4 :]


def list_ffmpegs() -> dict[str, str]:
    """The programs named ffmpeg: of the system, and of PyPI's imageio-ffmpeg, where they are."""
    found = {"system": shutil.which("ffmpeg")}
    if importlib.util.find_spec("imageio_ffmpeg"):
        import imageio_ffmpeg

        found["static"] = imageio_ffmpeg.get_ffmpeg_exe()
    return {name: program for name, program in found.items() if program is not None}


def run_ffmpeg(program: str, *arguments: object) -> bytes:
    """Run ffmpeg -> its output to `-`."""
    command = [program, "-nostdin", "-v", "fatal", "-y", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=True).stdout


def decode(program: str, path: Path, num_channels: int = 1) -> np.ndarray:
    """All of a file as ffmpeg decodes it, float32 `(num_samples, num_channels)`."""
    content = run_ffmpeg(program, "-i", f"file:{path}", "-f", "f32le", "-c:a", "pcm_f32le", "-")
    return np.frombuffer(content, "<f4").reshape(-1, num_channels)


def encode(program: str, path: Path, samples: np.ndarray, rate: int, *options: object) -> Path:
    """Write samples, `(num_samples,)` or `(num_samples, num_channels)`, with ffmpeg."""
    source = path.parent / "source_of_encode.wav"
    soundfile.write(source, samples, rate, subtype="FLOAT")
    run_ffmpeg(program, "-i", source, *options, f"file:{path}")
    source.unlink()
    return path
