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
"""Speech by speaker, and mixtures drawn from it on the fly."""

import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from scipy.signal import lfilter, resample_poly
from tqdm.auto import tqdm

from audioslots_hf.layouts import walk_files

from ..arguments import SettingsError, SpeechArguments, TrainingArguments
from .audio import AUDIO_SUFFIXES, audio_length, read_audio
from .channel import compress, high_pass, match_spectra
from .loudness import MAX_PEAK, SPEECH_LUFS, gain_between, loudness_lufs
from .rows import parse_number, place_rows, read_rows


@dataclass
class Utterance:
    """One recording of one speaker, `num_samples` long at the model's rate; in memory it holds them as int16."""

    path: Path
    num_samples: int
    loudness: float
    samples: np.ndarray | None = None

    def read(self, start: int, num_samples: int, sampling_rate: int) -> np.ndarray:
        """A span as float32 (num_samples,), shorter at the end of the recording."""
        if self.samples is None:
            return read_audio(self.path, sampling_rate, start, num_samples)
        return self.samples[start : start + num_samples].astype(np.float32) / 32768


@dataclass
class DrawnVoice:
    """What a mixture has of one speaker: where it is cut, and what is done to it, as numbers."""

    utterance: Utterance
    # below zero, silence comes first
    start: int
    # before the change of speed
    num_samples: int
    speed: Fraction
    # in LUFS
    loudness: float
    tilt_db: float = 0.0
    # of white noise, below the speech
    noise_floor_db: float | None = None
    noise_seed: int = 0
    # power of its envelope that it is divided by
    compression: float = 0.0
    # cutoff of the channel that the whole mixture comes through, 0 for none
    high_pass_hz: float = 0.0
    # whether all voices of the mixture get one spectrum
    shares_channel: bool = False


@dataclass
class ListedFile:
    """A file of speech before it is opened; its loudness in LUFS where a list tells it."""

    path: Path
    speaker: str
    loudness: float | None = None


def list_speech(root: str | Path, utterances: str | Path | None = None) -> list[ListedFile]:
    """
    The files of a folder of speech, from a csv with `path`, `speaker` and perhaps `loudness`, or by walking it.

    The order does not depend on which.

    Raises:
        `SettingsError`: there is no such folder, the csv lacks a column or a number, or a file lies in no speaker's folder.
    """
    root = Path(root)
    if not root.is_dir():
        raise SettingsError(f"{root} is no folder: it must hold a folder for each speaker.")
    if utterances is None:
        paths = walk_files(root, AUDIO_SUFFIXES)
        if loose := sorted(path for path in paths if path.parent == root):
            raise SettingsError(
                f"{loose[0]} lies directly in {root}: put the files of each speaker into a folder of its own."
            )
        files = [ListedFile(path, path.relative_to(root).parts[0]) for path in paths]
    else:
        rows = read_rows(utterances)
        if rows and (missing := {"path", "speaker"} - set(rows[0])):
            raise SettingsError(f"{utterances} has no column `{min(missing)}`: it needs path and speaker.")
        files = [
            ListedFile(
                root / row["path"],
                row["speaker"],
                parse_number(row, "loudness", place) if row.get("loudness") else None,
            )
            for place, row in place_rows(utterances, rows)
        ]
    return sorted(files, key=lambda file: (file.speaker, file.path.as_posix()))


def load_utterance(file: ListedFile, sampling_rate: int, in_memory: bool) -> Utterance:
    """Read what is needed of a file: all of it, or only its header if its loudness is known."""
    if not in_memory and file.loudness is not None:
        return Utterance(file.path, audio_length(file.path, sampling_rate), file.loudness)
    audio = read_audio(file.path, sampling_rate)
    loudness = loudness_lufs(audio, sampling_rate) if file.loudness is None else file.loudness
    samples = np.clip(np.round(audio * 32768), -32768, 32767).astype(np.int16) if in_memory else None
    return Utterance(file.path, len(audio), loudness, samples)


def load_speech(folder: SpeechArguments, sampling_rate: int, show_progress: bool = True) -> list[list[Utterance]]:
    """
    Read a folder of speech: one list of utterances per speaker.

    Raises:
        `SettingsError`: there is no speech, or a file cannot be used.
    """
    speakers: dict[str, list[Utterance]] = {}
    files = list_speech(folder.root, folder.utterances)
    for file in tqdm(files, desc=f"Reading {folder.root}", unit="file", disable=not show_progress):
        utterance = load_utterance(file, sampling_rate, folder.in_memory)
        if utterance.loudness == -np.inf:
            raise SettingsError(f"{file.path} is silent: leave it out.")
        speakers.setdefault(file.speaker, []).append(utterance)
    if not speakers:
        raise SettingsError(f"{folder.root} holds no audio file ({', '.join(AUDIO_SUFFIXES)}).")
    return list(speakers.values())


class SpeechMixer:
    """
    Mixtures of different speakers, drawn by LibriMix's recipe: loudness of every voice, then the rule of the peak.

    Args:
        speech (`list`):
            For each folder, its speakers, each a list of [`Utterance`].
        arguments ([`TrainingArguments`]):
            Weights, noise floors and augmentation.
        num_voices (`int`):
            Number of speakers of a mixture, all different.
        crop_length (`int`):
            Number of samples of a crop.
        sampling_rate (`int`):
            In hertz.

    Raises:
        `SettingsError`: fewer speakers than voices.
    """

    def __init__(
        self,
        speech: list[list[list[Utterance]]],
        arguments: TrainingArguments,
        num_voices: int,
        crop_length: int,
        sampling_rate: int,
    ):
        num_speakers = sum(len(folder) for folder in speech)
        if num_speakers < num_voices:
            raise SettingsError(
                f"There are {num_speakers} speakers for mixtures of {num_voices}: one folder holds one speaker."
            )
        self.speech = speech
        self.arguments = arguments
        weights = np.array([folder.weight for folder in arguments.speech], dtype=np.float64)
        # the draw of a folder is a number from 0 to 1
        self.upper_bounds = (weights / weights.sum()).cumsum()[:-1]
        self.speeds = [Fraction(speed).limit_denominator(100) for speed in arguments.speeds]
        # the resampler needs one more sample than it makes
        self.crop_lengths = {speed: math.ceil(crop_length * speed) + 1 for speed in self.speeds}
        self.num_voices = num_voices
        self.crop_length = crop_length
        self.sampling_rate = sampling_rate

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """The voices of a mixture, float32 (num_voices, crop_length)"""
        voices = np.empty((self.num_voices, self.crop_length), dtype=np.float32)
        drawn = self.draw_voices(rng)
        for row, voice in enumerate(drawn):
            voices[row] = self.render(voice)
        if drawn[0].shares_channel:
            voices = match_spectra(torch.from_numpy(voices), self.sampling_rate).numpy()
        peak = np.abs(voices.sum(axis=0)).max()
        if peak > MAX_PEAK:
            voices *= MAX_PEAK / peak
        return voices

    def draw_voices(self, rng: np.random.Generator) -> list[DrawnVoice]:
        """What sounds in a mixture, before any audio is read: voices of different speakers."""
        speakers: set[tuple[int, int]] = set()
        while len(speakers) < self.num_voices:
            folder = int(np.searchsorted(self.upper_bounds, rng.random(), side="right"))
            speakers.add((folder, int(rng.integers(len(self.speech[folder])))))
        # a set has no order that may be relied on
        voices = [self.draw_voice(folder, speaker, rng) for folder, speaker in sorted(speakers)]
        if (cutoffs := self.arguments.high_pass_hz) is not None:
            cutoff_hz = math.exp(rng.uniform(*np.log(cutoffs)))
            for voice in voices:
                voice.high_pass_hz = cutoff_hz
        if (share := self.arguments.shared_channel) > 0:
            shares_channel = bool(rng.random() < share)
            for voice in voices:
                voice.shares_channel = shares_channel
        if (compression := self.arguments.compression) > 0:
            for voice in voices:
                voice.compression = rng.uniform(0, compression)
        return voices

    def draw_voice(self, folder: int, speaker: int, rng: np.random.Generator) -> DrawnVoice:
        """A crop of one speaker at a random place, loudness, speed and tilt."""
        utterances = self.speech[folder][speaker]
        utterance = utterances[int(rng.integers(len(utterances)))]
        speed = self.speeds[int(rng.integers(len(self.speeds)))]
        num_samples = self.crop_lengths[speed]
        spare = utterance.num_samples - num_samples
        # shorter speech is put at a random place among zeros
        start = int(rng.integers(abs(spare) + 1)) * (1 if spare >= 0 else -1)
        voice = DrawnVoice(utterance, start, num_samples, speed, loudness=rng.uniform(*SPEECH_LUFS))
        if self.arguments.tilt_db > 0:
            voice.tilt_db = rng.uniform(-1, 1) * self.arguments.tilt_db
        if (noise_floor_db := self.arguments.speech[folder].noise_floor_db) is not None:
            voice.noise_floor_db, voice.noise_seed = rng.uniform(*noise_floor_db), int(rng.integers(2**63))
        return voice

    def render(self, voice: DrawnVoice) -> np.ndarray:
        """The samples of a voice, float32 (crop_length,)"""
        samples = voice.utterance.read(max(voice.start, 0), voice.num_samples, self.sampling_rate)
        if len(samples) < voice.num_samples:
            leading = max(-voice.start, 0)
            samples = np.pad(samples, (leading, voice.num_samples - leading - len(samples)))
        if voice.speed != 1:
            samples = resample_poly(samples, voice.speed.denominator, voice.speed.numerator)
        samples = samples[: self.crop_length] * gain_between(voice.utterance.loudness, 0.0)
        if voice.tilt_db != 0:
            samples = lfilter([1.0, tilt_coefficient(voice.tilt_db)], [1.0], samples)
        if voice.noise_floor_db is not None:
            noise = np.random.default_rng(voice.noise_seed).standard_normal(len(samples))
            samples = samples + noise * gain_between(0.0, voice.noise_floor_db)
        # the loudness is not measured again: a channel changes that of each voice by an amount of its own
        if voice.compression > 0:
            tensor = torch.from_numpy(samples[None]).float()
            samples = compress(tensor, voice.compression, self.sampling_rate)[0].numpy()
        if voice.high_pass_hz > 0:
            samples = high_pass(torch.from_numpy(samples).float(), voice.high_pass_hz, self.sampling_rate).numpy()
        return (samples * gain_between(0.0, voice.loudness)).astype(np.float32, copy=False)


def tilt_coefficient(tilt_db: float) -> float:
    """The zero of a filter that brightens (or, if negative, darkens) by `tilt_db` from the lowest to the highest frequency."""
    ratio = 10 ** (abs(tilt_db) / 20)
    return (ratio - 1) / (ratio + 1) * (-1 if tilt_db > 0 else 1)
