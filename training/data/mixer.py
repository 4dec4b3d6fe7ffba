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

"""Mixtures of voices, drawn by LibriMix's recipe and augmented."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch

from ..settings import SettingsError
from .augmentations import AnyAugmentation, Augmentation, SpeedPerturbation, upload
from .loudness import MAX_PEAK, SPEECH_LUFS, gain_between
from .noise_floor import NoiseFloor
from .speech import Utterance


@dataclass
class DrawnVoice:
    """One speaker of a mixture before any audio is read: the span of a recording and the parameters of its processing."""

    utterance: Utterance
    # negative: the crop starts with silence
    start: int
    # before the change of speed
    num_samples: int
    speed: Fraction
    # in LUFS
    loudness: float
    # level in dB and seed
    noise_floor: tuple[float, int] | None = None


@dataclass
class DrawnMixture:
    """A mixture before any audio is read: its voices, and a parameter per augmentation and voice."""

    voices: list[DrawnVoice]
    parameters: list[list[float]]


class SpeechMixer:
    """
    Mixtures of different speakers, drawn by LibriMix's recipe: a loudness for every voice, then a limit of the peak.

    Args:
        speech (`list`):
            The speakers of each folder, each a list of [`Utterance`].
        num_voices (`int`):
            Number of speakers of a mixture, all different.
        crop_length (`int`):
            Number of samples of a crop.
        sampling_rate (`int`):
            In hertz.
        augmentations (`Sequence` of [`AnyAugmentation`], *optional*):
            Applied in their order, except that the speed always comes first.
        sampling_weights (`Sequence` of `float`, *optional*):
            Share of the draws of each folder, relative to the others; equal by default.
        noise_floors (`Sequence` of [`NoiseFloor`] or `None`, *optional*):
            Noise floor of each folder; none by default.

    Raises:
        `SettingsError`: fewer speakers than voices.
    """

    def __init__(
        self,
        speech: list[list[list[Utterance]]],
        num_voices: int,
        crop_length: int,
        sampling_rate: int,
        augmentations: Sequence[AnyAugmentation] = (),
        sampling_weights: Sequence[float] | None = None,
        noise_floors: Sequence[NoiseFloor | None] | None = None,
    ):
        num_speakers = sum(len(folder) for folder in speech)
        if num_speakers < num_voices:
            raise SettingsError(
                f"There are {num_speakers} speakers for mixtures of {num_voices}: add speakers, one folder for each."
            )
        self.speech = speech
        self.num_voices = num_voices
        self.crop_length = crop_length
        self.sampling_rate = sampling_rate
        speeds = [item for item in augmentations if isinstance(item, SpeedPerturbation)]
        self.speed_perturbation = speeds[0] if speeds else SpeedPerturbation(factors=[1.0])
        self.augmentations = [item for item in augmentations if isinstance(item, Augmentation)]
        sampling_weights = np.array(sampling_weights or [1.0] * len(speech), dtype=np.float64)
        # a folder is drawn by a number from 0 to 1
        self.upper_bounds = (sampling_weights / sampling_weights.sum()).cumsum()[:-1]
        self.noise_floors = noise_floors or [None] * len(speech)

    def draw(self, rng: np.random.Generator) -> torch.Tensor:
        """The voices of a mixture, float32 (num_voices, crop_length)"""
        return self.render([self.draw_mixture(rng)], self.read)[0]

    def draw_mixture(self, rng: np.random.Generator) -> DrawnMixture:
        """Draw a mixture of different speakers, before any audio is read."""
        speakers: set[tuple[int, int]] = set()
        while len(speakers) < self.num_voices:
            folder = int(np.searchsorted(self.upper_bounds, rng.random(), side="right"))
            speakers.add((folder, int(rng.integers(len(self.speech[folder])))))
        # sorted, because the order of a set is arbitrary
        voices = [self.draw_voice(folder, speaker, rng) for folder, speaker in sorted(speakers)]
        return DrawnMixture(voices, [item.draw(rng, self.num_voices) for item in self.augmentations])

    def draw_voice(self, folder: int, speaker: int, rng: np.random.Generator) -> DrawnVoice:
        """Draw a crop of one speaker at a random position, with a loudness and a speed."""
        utterances = self.speech[folder][speaker]
        utterance = utterances[int(rng.integers(len(utterances)))]
        speed = self.speed_perturbation.draw(rng)
        # the resampler needs one more input sample
        num_samples = math.ceil(self.crop_length * speed) + 1
        spare = utterance.num_samples - num_samples
        # shorter speech is placed at a random position among zeros
        start = int(rng.integers(abs(spare) + 1)) * (1 if spare >= 0 else -1)
        voice = DrawnVoice(utterance, start, num_samples, speed, loudness=rng.uniform(*SPEECH_LUFS))
        if (noise_floor := self.noise_floors[folder]) is not None:
            voice.noise_floor = noise_floor.draw(rng)
        return voice

    def read(self, voices: list[DrawnVoice]) -> torch.Tensor:
        """The spans of voices of one speed, from memory or from files, float32 (num_voices, num_samples before the speed)"""
        spans = np.zeros((len(voices), voices[0].num_samples), dtype=np.float32)
        for row, voice in enumerate(voices):
            samples = voice.utterance.read(max(voice.start, 0), voice.num_samples, self.sampling_rate)
            leading = max(-voice.start, 0)
            spans[row, leading : leading + len(samples)] = samples[: voice.num_samples - leading]
        return torch.from_numpy(spans)

    def render(self, mixtures: list[DrawnMixture], cut: Callable[[list[DrawnVoice]], torch.Tensor]) -> torch.Tensor:
        """
        The samples of drawn mixtures.

        Args:
            mixtures (`list` of [`DrawnMixture`]):
                A batch.
            cut (`Callable`):
                Returns the spans of voices of one speed, on the device that is to render them; for instance `read`.

        Returns:
            `torch.Tensor` of shape `(num_mixtures, num_voices, crop_length)`, float32.
        """
        samples = self.render_voices([voice for mixture in mixtures for voice in mixture.voices], cut)
        voices = samples.unflatten(0, (len(mixtures), self.num_voices))
        # the loudness is not measured again
        for index, augmentation in enumerate(self.augmentations):
            parameters = np.array([mixture.parameters[index] for mixture in mixtures])
            voices = augmentation.apply(voices, parameters, self.sampling_rate)
        peaks = voices.sum(dim=1, keepdim=True).abs().amax(dim=2, keepdim=True)
        return voices * (MAX_PEAK / peaks.clamp(min=1e-8)).clamp(max=1.0)

    def render_voices(self, voices: list[DrawnVoice], cut: Callable[[list[DrawnVoice]], torch.Tensor]) -> torch.Tensor:
        """Recordings at their speed and loudness, with their noise floor, float32 (len(voices), crop_length)"""
        rows_by_speed: dict[Fraction, list[int]] = {}
        for row, voice in enumerate(voices):
            rows_by_speed.setdefault(voice.speed, []).append(row)
        parts = [
            self.speed_perturbation.apply(cut([voices[row] for row in rows]), speed, self.crop_length)
            for speed, rows in sorted(rows_by_speed.items())
        ]
        # back to the order of the voices
        order = np.argsort([row for _, rows in sorted(rows_by_speed.items()) for row in rows])
        samples = torch.cat(parts)
        samples = samples[upload(order, samples.device)]
        gains = [gain_between(voice.utterance.loudness, voice.loudness) for voice in voices]
        samples = samples * upload(gains, samples.device)[:, None]
        for row, voice in enumerate(voices):
            if voice.noise_floor is not None:
                samples[row] = NoiseFloor.apply(samples[row], voice.loudness, voice.noise_floor)
        return samples
