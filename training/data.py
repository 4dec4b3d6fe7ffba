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
"""Speech in memory, and two-voice mixtures drawn from it on the fly."""

import csv
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import soundfile
import torch
from scipy.signal import lfilter, resample_poly
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from .arguments import SettingsError, SpeechArguments, TrainingArguments


AUDIO_SUFFIXES = (".flac", ".wav", ".opus", ".ogg", ".mp3")


@dataclass
class Utterance:
    """One recording of one speaker: int16 samples at the model's rate, and the root mean square of its speech."""

    samples: np.ndarray
    level: float


def read_audio(path: str | Path, sampling_rate: int) -> np.ndarray:
    """
    Read a file as mono float32 at `sampling_rate`.

    Raises:
        `SettingsError`: it is missing, no audio, empty, or holds NaN or infinite samples.
    """
    try:
        audio, file_rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        raise SettingsError(f"{path} cannot be read as audio: {error}") from error
    audio = audio.mean(axis=1)
    if len(audio) == 0 or not np.isfinite(audio).all():
        raise SettingsError(f"{path} is empty or holds NaN or infinite samples: leave it out.")
    if file_rate != sampling_rate:
        ratio = Fraction(sampling_rate, file_rate)
        audio = resample_poly(audio, ratio.numerator, ratio.denominator)
    return audio


def speech_level(audio: np.ndarray, frame_length: int = 400) -> float:
    """Root mean square of the louder half of the frames, so that pauses do not count."""
    num_frames = max(1, len(audio) // frame_length)
    energies = np.square(audio[: num_frames * frame_length].astype(np.float64))
    energies = energies.reshape(num_frames, -1).mean(axis=1)
    return float(np.sqrt(np.sort(energies)[num_frames // 2 :].mean())) + 1e-8


def list_utterances(folder: SpeechArguments) -> list[tuple[Path, str]]:
    """Paths and speakers of one folder of speech, from its csv or by walking it; the order does not depend on which."""
    root = Path(folder.root)
    if folder.utterances is not None:
        with open(folder.utterances, newline="", encoding="utf-8") as file:
            files = [(root / row["path"], row["speaker"]) for row in csv.DictReader(file)]
    else:
        paths = [path for path in root.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES]
        if loose := [path for path in paths if path.parent == root]:
            raise SettingsError(
                f"{loose[0]} lies directly in {root}: put the files of each speaker into a folder of its own."
            )
        files = [(path, path.relative_to(root).parts[0]) for path in paths]
    return sorted(files, key=lambda file: (file[1], file[0].as_posix()))


def load_speech(folder: SpeechArguments, sampling_rate: int, show_progress: bool = True) -> list[list[Utterance]]:
    """
    Read a whole folder of speech into memory as int16: one list of utterances per speaker.

    Raises:
        `SettingsError`: there is no speech, or a file cannot be used.
    """
    speakers: dict[str, list[Utterance]] = {}
    files = list_utterances(folder)
    for path, speaker in tqdm(files, desc=f"Reading {folder.root}", unit="file", disable=not show_progress):
        audio = read_audio(path, sampling_rate)
        samples = np.clip(np.round(audio * 32768), -32768, 32767).astype(np.int16)
        speakers.setdefault(speaker, []).append(Utterance(samples, speech_level(audio)))
    if not speakers:
        raise SettingsError(f"{folder.root} holds no audio file ({', '.join(AUDIO_SUFFIXES)}).")
    return list(speakers.values())


class MixtureDataset(Dataset):
    """
    Endless two-voice mixtures: every draw is a function of the seed and the index alone.

    Item `index` is a float32 tensor `(num_sources, chunk_length)` of sources; their sum is the mixture. This is the seam
    for other data: whatever yields such tensors by index can replace it.

    Args:
        speech (`list`):
            For each folder, its speakers, each a list of [`Utterance`].
        arguments ([`TrainingArguments`]):
            Weights, noise floors and augmentation.
        num_sources (`int`):
            Number of voices of a mixture, all different speakers.
        chunk_length (`int`):
            Number of samples of a crop.

    Raises:
        `SettingsError`: fewer speakers than sources.
    """

    def __init__(
        self, speech: list[list[list[Utterance]]], arguments: TrainingArguments, num_sources: int, chunk_length: int
    ):
        num_speakers = sum(len(folder) for folder in speech)
        if num_speakers < num_sources:
            raise SettingsError(
                f"There are {num_speakers} speakers for mixtures of {num_sources}: one folder holds one speaker."
            )
        self.speech = speech
        self.arguments = arguments
        weights = np.array([folder.weight for folder in arguments.speech], dtype=np.float64)
        self.shares = weights / weights.sum()
        self.num_sources = num_sources
        self.chunk_length = chunk_length

    def __len__(self) -> int:
        return self.arguments.max_steps * self.arguments.batch_size

    def __getitem__(self, index: int) -> torch.Tensor:
        rng = np.random.default_rng((self.arguments.seed, index))
        speakers: set[tuple[int, int]] = set()
        while len(speakers) < self.num_sources:
            folder = int(rng.choice(len(self.speech), p=self.shares))
            speakers.add((folder, int(rng.integers(len(self.speech[folder])))))
        # a set has no order that may be relied on
        voices = [self._draw_voice(folder, speaker, rng) for folder, speaker in sorted(speakers)]
        return torch.from_numpy(np.stack(voices))

    def _draw_voice(self, folder: int, speaker: int, rng: np.random.Generator) -> np.ndarray:
        """A crop of one speaker at a random level, speed and tilt: float32 (chunk_length,)"""
        utterances = self.speech[folder][speaker]
        utterance = utterances[int(rng.integers(len(utterances)))]
        speed = Fraction(float(rng.choice(self.arguments.speeds))).limit_denominator(100)
        voice = random_crop(utterance.samples, int(np.ceil(self.chunk_length * speed)) + 1, rng)
        voice = voice.astype(np.float32) / 32768 / utterance.level
        if speed != 1:
            voice = resample_poly(voice, speed.denominator, speed.numerator)
        voice = voice[: self.chunk_length]
        if self.arguments.tilt_db > 0:
            voice = tilt(voice, rng.uniform(-1, 1) * self.arguments.tilt_db)
        if (noise_floor_db := self.arguments.speech[folder].noise_floor_db) is not None:
            voice = voice + rng.standard_normal(len(voice)) * 10 ** (rng.uniform(*noise_floor_db) / 20)
        gain_db = rng.uniform(-1, 1) * self.arguments.level_range_db - 26
        return (voice * 10 ** (gain_db / 20)).astype(np.float32)


def random_crop(samples: np.ndarray, num_samples: int, rng: np.random.Generator) -> np.ndarray:
    """Cut `num_samples` at a random place; shorter speech is put at a random place among zeros."""
    if len(samples) >= num_samples:
        start = int(rng.integers(len(samples) - num_samples + 1))
        return samples[start : start + num_samples]
    start = int(rng.integers(num_samples - len(samples) + 1))
    return np.pad(samples, (start, num_samples - len(samples) - start))


def tilt(voice: np.ndarray, tilt_db: float) -> np.ndarray:
    """Brighten (or, if negative, darken) by a one-zero filter, `tilt_db` from the lowest to the highest frequency."""
    ratio = 10 ** (abs(tilt_db) / 20)
    zero = (ratio - 1) / (ratio + 1) * (-1 if tilt_db > 0 else 1)
    return lfilter([1.0, zero], [1.0], voice).astype(np.float32)


@dataclass
class Mixture:
    """One mixture of a metadata list: float32 references (num_sources, num_samples) that add up to it."""

    mixture_id: str
    references: torch.Tensor

    @property
    def waveform(self) -> torch.Tensor:
        """The mixture, (num_samples,)"""
        return self.references.sum(dim=0)


def count_sources(row: dict[str, str]) -> int:
    """Number of sources of a metadata row."""
    return sum(key.startswith("source_") and key.endswith("_path") for key in row)


def read_metadata(path: str | Path, root: str | Path, num_sources: int) -> list[dict[str, str]]:
    """
    Rows of a LibriMix metadata csv, checked.

    Args:
        path (`str` or `Path`):
            The csv.
        root (`str` or `Path`):
            Folder that its paths start from.
        num_sources (`int`):
            Number of sources of the model: 1 for an autoencoder, which takes mixtures of any number.

    Raises:
        `SettingsError`: it is no such csv, has another number of sources, or names a file that is missing.
    """
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows or "source_1_path" not in rows[0]:
        raise SettingsError(f"{path} is no LibriMix metadata csv: it has no row, or no column source_1_path.")
    if num_sources not in (1, count_sources(rows[0])):
        raise SettingsError(
            f"{path} lists mixtures of {count_sources(rows[0])} sources, but the model has {num_sources}."
        )
    for row in rows:
        for number in range(1, 1 + count_sources(row)):
            file = Path(root) / row[f"source_{number}_path"]
            if not file.is_file():
                raise SettingsError(f"{file} does not exist: {path} lists it, relative to {root}.")
    return rows


def load_mixture(row: dict[str, str], root: str | Path, sampling_rate: int) -> Mixture:
    """Mix the sources of one metadata row as LibriMix does in `min` mode: gains, truncation to the shortest, sum."""
    sources = []
    for number in range(1, 1 + count_sources(row)):
        # LibriMix applies the gain before it resamples; both are linear
        source = read_audio(Path(root) / row[f"source_{number}_path"], sampling_rate)
        sources.append(source * float(row[f"source_{number}_gain"]))
    num_samples = min(len(source) for source in sources)
    references = np.stack([source[:num_samples] for source in sources]).astype(np.float32)
    return Mixture(row["mixture_ID"], torch.from_numpy(references))
