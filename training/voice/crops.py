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
"""Voices in memory, and crops of them: whose, how fast, from where."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from tqdm.auto import tqdm

from ..data.effects import change_speed
from ..data.speech import list_speech, read_listed
from ..settings import SettingsError
from .settings import DURATION_STEP_S, VoiceFolder


CPU = torch.device("cpu")


@dataclass
class Voice:
    """The recordings of one speaker as int16, at the model's rate."""

    speaker: str
    utterances: list[np.ndarray]


@dataclass
class Crops:
    """
    A batch.

    Args:
        waveforms (`torch.Tensor` of shape `(batch_size, num_samples)`):
            Float32.
        labels (int64 `torch.Tensor` of shape `(batch_size,)`):
            The class of each.
    """

    waveforms: torch.Tensor
    labels: torch.Tensor


def load_voices(folder: VoiceFolder, sampling_rate: int, show_progress: bool = True) -> list[Voice]:
    """
    Read a folder of speech.

    Raises:
        `SettingsError`: there is no speech, or a file cannot be used.
    """
    voices: dict[str, Voice] = {}
    files = list_speech(folder.root, folder.utterances)
    for file in tqdm(files, desc=f"Reading {folder.root}", unit="file", disable=not show_progress):
        samples = np.clip(np.round(read_listed(file, sampling_rate) * 32768), -32768, 32767).astype(np.int16)
        voices.setdefault(file.speaker, Voice(file.speaker, [])).utterances.append(samples)
    if not voices:
        raise SettingsError(f"{folder.root} holds no audio file (.wav, .flac, .mp3 and so on).")
    return list(voices.values())


def cut(samples: np.ndarray, start: int, num_samples: int) -> np.ndarray:
    """A span as float32 (num_samples,); zeros follow the end of the recording"""
    span = samples[start : start + num_samples].astype(np.float32) / 32768
    return np.pad(span, (0, num_samples - len(span)))


class VoiceCrops:
    """
    Random crops of voices. A voice at another speed is another class.

    Args:
        folders (`list` of `list` of [`Voice`]):
            The voices of each folder.
        weights (`list` of `float`):
            How often each folder is drawn, relative to the others. Within a folder all voices are equally likely, and a recording
            as likely as it is long.
        speeds (`list` of `float`):
            Drawn with equal probability.
        sampling_rate (`int`):
            In hertz.
        device (`torch.device`):
            Of the crops. The draws are those of NumPy's generator, so they are equal on all devices.
    """

    def __init__(
        self,
        folders: list[list[Voice]],
        weights: list[float],
        speeds: list[float],
        sampling_rate: int,
        device: torch.device = CPU,
    ):
        self.voices = [voice for folder in folders for voice in folder]
        chances = [np.full(len(folder), weight / len(folder)) for folder, weight in zip(folders, weights, strict=True)]
        self.chances = np.concatenate(chances) / sum(weights)
        self.lengths = [np.array([len(samples) for samples in voice.utterances]) for voice in self.voices]
        self.speeds = [Fraction(speed).limit_denominator(100) for speed in speeds]
        self.sampling_rate = sampling_rate
        self.device = device

    @property
    def num_classes(self) -> int:
        """Voices times speeds."""
        return len(self.voices) * len(self.speeds)

    def draw_length(self, rng: np.random.Generator, duration_s: list[float]) -> int:
        """A length for the crops of a batch, in samples."""
        steps = [round(bound / DURATION_STEP_S) for bound in duration_s]
        return round(int(rng.integers(steps[0], steps[1] + 1)) * DURATION_STEP_S * self.sampling_rate)

    def draw(self, rng: np.random.Generator, batch_size: int, num_samples: int) -> Crops:
        """A batch of crops of one length, each of another draw of a voice."""
        voices = rng.choice(len(self.voices), batch_size, p=self.chances)
        speeds = rng.integers(len(self.speeds), size=batch_size)
        waveforms = self.play(rng, voices, speeds, num_samples)
        return Crops(waveforms, torch.from_numpy(voices * len(self.speeds) + speeds).to(self.device))

    def draw_clips(self, rng: np.random.Generator, num_voices: int, num_samples: int) -> torch.Tensor:
        """Two clips of each drawn voice at one speed, float32 (2 * num_voices, num_samples): all first ones, then all second ones"""
        voices = rng.choice(len(self.voices), num_voices, p=self.chances)
        speeds = rng.integers(len(self.speeds), size=num_voices)
        return self.play(rng, np.tile(voices, 2), np.tile(speeds, 2), num_samples, repeats=True)

    def play(
        self, rng: np.random.Generator, voices: np.ndarray, speeds: np.ndarray, num_samples: int, repeats: bool = False
    ) -> torch.Tensor:
        """
        A random span of each voice at its speed, float32 (num_voices, num_samples).

        Silence follows the end of a short recording, or it repeats.
        """
        recordings = [rng.choice(len(self.lengths[voice]), p=self.shares(voice)) for voice in voices]
        waveforms = torch.zeros(len(voices), num_samples, device=self.device)
        for index, speed in enumerate(self.speeds):
            rows = np.flatnonzero(speeds == index)
            if len(rows) == 0:
                continue
            # with the samples that a resampling filter reads behind the end
            length = num_samples if speed == 1 else int(num_samples * speed) + 64
            spans = np.stack([self.cut(rng, voices[row], recordings[row], length, repeats) for row in rows])
            spans = torch.from_numpy(spans).to(self.device)
            waveforms[rows] = spans if speed == 1 else change_speed(spans, speed, num_samples)
        return waveforms

    def shares(self, voice: int) -> np.ndarray:
        """How often each recording of a voice is drawn: (num_recordings,)"""
        return self.lengths[voice] / self.lengths[voice].sum()

    def cut(self, rng: np.random.Generator, voice: int, recording: int, num_samples: int, repeats: bool) -> np.ndarray:
        """A random span of one recording."""
        utterance = self.voices[voice].utterances[recording]
        if repeats and len(utterance) < num_samples:
            utterance = np.resize(utterance, num_samples)
        return cut(utterance, int(rng.integers(max(1, len(utterance) - num_samples + 1))), num_samples)
