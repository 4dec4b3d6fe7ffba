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
"""
Whether damaged files can crash, hang or fill the reader: mutated recordings of every format, from one seed.

Each file is read to its end in a process of its own, which reads many one after the other. A file may be read, or refused with a sentence;
everything else is a fault.
"""

import argparse
import contextlib
import io
import logging
import multiprocessing
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import soundfile
from tqdm.auto import tqdm


SAMPLING_RATE = 16000
# of audio in each file, which a mutation may repeat
DURATION_S = 0.5
# formats written by soundfile: suffix, format, subtype
SOUNDFILE_SEEDS = (
    ("wav", "WAV", "PCM_16"),
    ("wav", "WAV", "IMA_ADPCM"),
    ("wav", "WAVEX", "FLOAT"),
    ("w64", "W64", "PCM_24"),
    ("aiff", "AIFF", "PCM_16"),
    ("au", "AU", "ULAW"),
    ("caf", "CAF", "ALAC_16"),
    ("flac", "FLAC", "PCM_16"),
    ("ogg", "OGG", "VORBIS"),
    ("opus", "OGG", "OPUS"),
    ("mp3", "MP3", "MPEG_LAYER_III"),
)
# formats written by FFmpeg: suffix, format, codec
FFMPEG_SEEDS = (
    ("m4a", "mp4", "aac"),
    ("3gp", "3gp", "aac"),
    ("webm", "webm", "libopus"),
    ("mkv", "matroska", "flac"),
    ("aac", "adts", "aac"),
    ("mp2", "mp2", "mp2"),
    ("wma", "asf", "wmav2"),
    ("avi", "avi", "pcm_s16le"),
    ("w64", "w64", "pcm_f32le"),
    ("ts", "mpegts", "aac"),
)
OUTCOMES = ("read", "refused", "errors", "crashes", "hangs")


def make_seeds() -> list[tuple[str, bytes]]:
    """Whole files of half a second, with their suffixes."""
    rng = np.random.default_rng(0)
    samples = (0.1 * rng.standard_normal(int(DURATION_S * SAMPLING_RATE))).astype(np.float32)
    seeds = []
    for suffix, file_format, subtype in SOUNDFILE_SEEDS:
        file = io.BytesIO()
        soundfile.write(file, samples, SAMPLING_RATE, format=file_format, subtype=subtype)
        seeds.append((suffix, file.getvalue()))
    return seeds + [(suffix, encode(samples, *form)) for suffix, *form in FFMPEG_SEEDS]


def encode(samples: np.ndarray, file_format: str, codec: str) -> bytes:
    """A file of any format that FFmpeg writes."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format=file_format) as container:
        stream = container.add_stream(codec, rate=SAMPLING_RATE, layout="mono")
        stream.codec_context.bit_rate = 32_000
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = SAMPLING_RATE, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def mutate(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Damage a file in one to four ways; `other` is a file of which parts are taken."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        # headers are short, and decide most
        end = len(data) if rng.random() < 0.5 else min(len(data), 200)
        start = int(rng.integers(0, max(1, end)))
        length = int(rng.integers(1, 64)) if rng.random() < 0.7 else int(rng.integers(1, max(2, len(data))))
        kind = rng.integers(0, 8)
        if kind == 0:
            data[start : start + 4] = bytes(rng.integers(0, 256, 4, dtype=np.uint8))
        elif kind == 1:
            data[start : start + 4] = [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x7f\xff\xff\xff"][
                rng.integers(4)
            ]
        elif kind == 2 and start < len(data):
            data[start] ^= 1 << int(rng.integers(8))
        elif kind == 3:
            del data[start : start + length]
        elif kind == 4:
            data[start:start] = data[start : start + length]
        elif kind == 5:
            data[start : start + length] = bytes(min(length, len(data) - start))
        elif kind == 6:
            data[start:start] = other[:length]
        else:
            del data[max(1, len(data) - length) :]
    return bytes(data)


def read_file(path: Path) -> str:
    """Read a file as the command does, and its bytes as the pipeline does."""
    from audioslots_hf.audio import open_audio
    from audioslots_hf.recordings import load_recording

    try:
        with open_audio(path) as audio:
            num_samples = sum(block.shape[1] for block in audio.blocks())
        num_read = load_recording(path.read_bytes(), SAMPLING_RATE).waveforms.shape[1]
    except (ValueError, OSError):
        return "refused"
    return "read" if num_read == num_samples else "errors"


def separate_file(path: Path) -> str:
    """Run `audioslots separate` on a file."""
    from audioslots_hf.cli import main

    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        status = main(["separate", str(path), "-o", str(path.parent / "tracks"), "--device", "cpu", "--force"])
    if "Traceback" in errors.getvalue() or status not in (0, 1):
        return "errors"
    return "read" if status == 0 else "refused"


def work(connection: Connection, handle: Callable[[Path], str]) -> None:
    """Process the named files in turn, and report the outcome of each."""
    # the warnings are expected
    logging.disable()
    while (path := connection.recv()) is not None:
        try:
            outcome = handle(path)
        except Exception as error:
            outcome = f"errors: {type(error).__name__}: {error}"
        connection.send((outcome, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024))


class Worker:
    """A process that handles files, begun anew after one that ended it."""

    def __init__(self, handle: Callable[[Path], str], max_s: float):
        self.handle, self.max_s = handle, max_s
        self.peak_mib = 0
        self.start()

    def start(self) -> None:
        """Begin a process."""
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=work, args=(other, self.handle), daemon=True)
        self.process.start()
        other.close()
        self.is_warm = False

    def run(self, path: Path) -> str:
        """The outcome for a file."""
        self.connection.send(path)
        # the first file waits for imports
        if not self.connection.poll(self.max_s if self.is_warm else self.max_s + 120):
            self.stop()
            self.start()
            return "hangs"
        try:
            outcome, peak_mib = self.connection.recv()
        except EOFError:
            self.stop()
            self.start()
            return "crashes"
        self.is_warm, self.peak_mib = True, max(self.peak_mib, peak_mib)
        return outcome

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.join()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--files", type=int, default=10_000, help="number of damaged files (default: 10000)")
    parser.add_argument(
        "--separate", action="store_true", help="run `audioslots separate` on each, not its reader alone"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the damage (default: 0)")
    parser.add_argument("--minutes", type=float, default=20, help="time limit in minutes (default: 20)")
    parser.add_argument("--max-s", type=float, default=30, help="a file that takes longer hangs (default: 30)")
    parser.add_argument("--keep", type=Path, help="folder for the files that show a fault")


def run(options: argparse.Namespace) -> dict[str, float]:
    """Damage files of every format, and count the outcomes."""
    seeds, counts, slowest_s, began = make_seeds(), Counter(), 0.0, time.monotonic()
    worker = Worker(separate_file if options.separate else read_file, options.max_s)
    with tempfile.TemporaryDirectory() as folder:
        for index in tqdm(range(options.files), unit="file", file=sys.stderr):
            if time.monotonic() - began > options.minutes * 60:
                break
            rng = np.random.default_rng([options.seed, index])
            suffix, content = seeds[index % len(seeds)]
            damaged = mutate(content, seeds[rng.integers(len(seeds))][1], rng)
            path = Path(folder) / f"file.{suffix}"
            path.write_bytes(damaged)
            start, is_warm = time.monotonic(), worker.is_warm
            outcome = worker.run(path)
            slowest_s = max(slowest_s, time.monotonic() - start) if is_warm else slowest_s
            counts[outcome.partition(":")[0]] += 1
            if outcome not in ("read", "refused"):
                print(f"file {index} ({suffix}): {outcome}", file=sys.stderr)
                if options.keep is not None:
                    options.keep.mkdir(parents=True, exist_ok=True)
                    (options.keep / f"{index}.{suffix}").write_bytes(damaged)
    worker.stop()
    results = {"files": sum(counts.values()), **{name: counts[name] for name in OUTCOMES}}
    print(", ".join(f"{count} {name}" for name, count in results.items()))
    return {**results, "slowest_s": round(slowest_s, 2), "peak_mib": worker.peak_mib}
