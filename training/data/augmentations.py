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
Augmentations of the voices of training mixtures: each draws parameters, and applies them to a batch on any device.

An entry of `augmentations` in a yaml names the class by its `type`; its other keys are the fields of the class.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field

from ..settings import STRICT, Range, SettingsError
from .codecs import CodecName, check_codec, transmit
from .effects import (
    TRANSITION_HZ,
    change_speed,
    compress_dynamic_range,
    high_pass,
    keep_power,
    low_pass,
    match_spectra,
    shift_formants,
    tilt,
)
from .reverberation import draw_response, reverberate
from .turns import STEP_S, draw_gates, draw_lone_voice, gate_voices


# an octave down and up: voices sound unnatural outside this range
SPEEDS = (0.5, 2.0)
# beyond these a voice is no longer that of a person
FORMANT_FACTORS = (0.7, 1.4)
# below this cutoff a high-pass filter would ring longer than its padding
LOWEST_CUTOFF_HZ = 20.0


def upload(values: list | np.ndarray, device: torch.device) -> torch.Tensor:
    """Copy numbers to a device, as float32 or int64, without synchronisation"""
    values = np.asarray(values)
    tensor = torch.from_numpy(values.astype(np.float32 if values.dtype.kind == "f" else np.int64))
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


class Augmentation(ABC):
    """A change to the voices of a mixture, with one parameter per voice."""

    # a default implementation; subclasses need not override it
    def check(self, sampling_rate: int) -> None:  # noqa: B027
        """
        Check the settings for a sampling rate in hertz.

        Raises:
            `SettingsError`: the settings do not fit the sampling rate.
        """

    @abstractmethod
    def draw(self, rng: np.random.Generator, num_voices: int) -> list[float]:
        """Draw the parameters of the voices of one mixture."""

    @abstractmethod
    def apply(self, voices: torch.Tensor, parameters: np.ndarray, sampling_rate: int) -> torch.Tensor:
        """
        Change a batch of mixtures.

        Args:
            voices (`torch.Tensor` of shape `(num_mixtures, num_voices, num_samples)`):
                On any device.
            parameters (`np.ndarray` of shape `(num_mixtures, num_voices)`):
                The parameters from `draw`, for each mixture.
            sampling_rate (`int`):
                In hertz.

        Returns:
            `torch.Tensor` of the shape of `voices`.
        """


@dataclass(frozen=True, kw_only=True)
class SpectralTilt(Augmentation):
    """Tilts the spectrum of each voice by a first-order filter."""

    __pydantic_config__ = STRICT

    type: Literal["spectral_tilt"] = "spectral_tilt"
    max_db: Annotated[float, Field(gt=0)]
    """Largest absolute gain of high over low frequencies."""

    def draw(self, rng: np.random.Generator, num_voices: int) -> list[float]:
        """Draw a tilt in dB for each voice."""
        return rng.uniform(-self.max_db, self.max_db, num_voices).tolist()

    def apply(self, voices: torch.Tensor, parameters: np.ndarray, sampling_rate: int) -> torch.Tensor:
        """Brighten or darken each voice."""
        return tilt(voices, upload(parameters, voices.device))


@dataclass(frozen=True, kw_only=True)
class DynamicRangeCompression(Augmentation):
    """
    Divides each voice by a power of its envelope.

    Published recordings have usually passed through a compressor, corpora have not.
    """

    __pydantic_config__ = STRICT

    type: Literal["dynamic_range_compression"] = "dynamic_range_compression"
    max_exponent: Annotated[float, Field(gt=0, lt=1)]
    """The largest power, drawn from 0 on; 1 would remove all dynamics."""

    def draw(self, rng: np.random.Generator, num_voices: int) -> list[float]:
        """Draw an exponent for each voice."""
        return rng.uniform(0, self.max_exponent, num_voices).tolist()

    def apply(self, voices: torch.Tensor, parameters: np.ndarray, sampling_rate: int) -> torch.Tensor:
        """Compress each voice, and restore its power."""
        return compress_dynamic_range(voices, upload(parameters, voices.device), sampling_rate)


@dataclass(frozen=True, kw_only=True)
class HighPass(Augmentation):
    """
    Filters all voices of a mixture by the same high-pass filter, with a cutoff that is uniform in its logarithm.

    Telephone speech has no low-frequency content.
    """

    __pydantic_config__ = STRICT

    type: Literal["high_pass"] = "high_pass"
    cutoff_hz: Range[Annotated[float, Field(ge=LOWEST_CUTOFF_HZ)]]
    """Range [lowest, highest] of the cutoff."""

    def check(self, sampling_rate: int) -> None:
        """Check that the cutoff is below half of the sampling rate."""
        if self.cutoff_hz[1] >= sampling_rate / 2:
            raise SettingsError(
                f"`cutoff_hz` ({self.cutoff_hz}) must end below {sampling_rate / 2:g} Hz, half of the sampling rate."
            )

    def draw(self, rng: np.random.Generator, num_voices: int) -> list[float]:
        """Draw the cutoff of a mixture in hertz, repeated for each of its voices."""
        return [float(np.exp(rng.uniform(*np.log(self.cutoff_hz))))] * num_voices

    def apply(self, voices: torch.Tensor, parameters: np.ndarray, sampling_rate: int) -> torch.Tensor:
        """Filter each voice."""
        return high_pass(voices, upload(parameters, voices.device), sampling_rate)


@dataclass(frozen=True, kw_only=True)
class LowPass(Augmentation):
    """
    Removes the frequencies above a cutoff from all voices of a share of the mixtures.

    Telephone speech is sampled at 8 kHz, so nothing remains above 4 kHz.
    """

    __pydantic_config__ = STRICT

    type: Literal["low_pass"] = "low_pass"
    cutoff_hz: Range[Annotated[float, Field(ge=TRANSITION_HZ)]]
    """Range [lowest, highest] of the cutoff."""
    share: Annotated[float, Field(gt=0, le=1)]
    """Share of the mixtures."""

    def check(self, sampling_rate: int) -> None:
        """Check that the lowest cutoff is below half of the sampling rate, above which there is nothing to remove."""
        if self.cutoff_hz[0] >= sampling_rate / 2:
            raise SettingsError(
                f"`cutoff_hz` ({self.cutoff_hz}) must begin below {sampling_rate / 2:g} Hz, half of the sampling rate."
            )

    def draw(self, rng: np.random.Generator, num_voices: int) -> list[float]:
        """Draw the cutoff of a mixture in hertz, repeated for each of its voices; infinity for those that stay."""
        cutoff_hz = rng.uniform(*self.cutoff_hz)
        return [cutoff_hz if rng.random() < self.share else math.inf] * num_voices

    def apply(self, voices: torch.Tensor, parameters: np.ndarray, sampling_rate: int) -> torch.Tensor:
        """Filter each voice."""
        return low_pass(voices, upload(parameters, voices.device), sampling_rate)


@dataclass(frozen=True, kw_only=True)
class Reverberation(Augmentation):
    """
    Puts the voices of a share of the mixtures into a room, each at a place of its own.

    The references are the voices as they reach the microphone.
    """

    __pydantic_config__ = STRICT

    type: Literal["reverberation"] = "reverberation"
    rt60_s: Range[Annotated[float, Field(ge=0.05, le=2)]]
    """Range [lowest, highest] of the reverberation time."""
    share: Annotated[float, Field(gt=0, le=1)]
    """Share of the mixtures."""

    def draw(self, rng: np.random.Generator, num_voices: int) -> list[float]:
        """A seed for each voice of a mixture in a room, the same for all; 0 for those that stay dry."""
        is_drawn, seed = rng.random() < self.share, float(rng.integers(1, 2**24))
        return [seed if is_drawn else 0.0] * num_voices

    def draw_responses(self, seed: float, num_voices: int, sampling_rate: int) -> np.ndarray:
        """The impulse responses of the voices of a mixture, float32 (num_voices, response length)"""
        rng = np.random.default_rng(int(seed))
        rt60_s = rng.uniform(*self.rt60_s)
        return np.stack([draw_response(rng, rt60_s, sampling_rate) for _ in range(num_voices)])

    def apply(self, voices: torch.Tensor, parameters: np.ndarray, sampling_rate: int) -> torch.Tensor:
        """Convolve each voice with the response of its place."""
        voices = voices.clone()
        for row in np.flatnonzero(np.all(parameters, axis=1)):
            responses = self.draw_responses(parameters[row, 0], voices.shape[1], sampling_rate)
            voices[row] = reverberate(voices[row], upload(responses, voices.device))
        return voices


@dataclass(frozen=True, kw_only=True)
class SharedSpectrum(Augmentation):
    """
    Gives all voices of a share of the mixtures the same spectrum over the crop, as if one microphone had recorded them.

    Two voices of a corpus rarely share a microphone, so a model learns to separate the microphones instead of the voices. The
    crops should be seconds long.
    """

    __pydantic_config__ = STRICT

    type: Literal["shared_spectrum"] = "shared_spectrum"
    share: Annotated[float, Field(gt=0, le=1)]
    """Share of the mixtures."""

    def draw(self, rng: np.random.Generator, num_voices: int) -> list[float]:
        """Draw 1 for all voices of a mixture to match, or 0 for all of them."""
        return [float(rng.random() < self.share)] * num_voices

    def apply(self, voices: torch.Tensor, parameters: np.ndarray, sampling_rate: int) -> torch.Tensor:
        """Match the voices of each mixture whose parameters are 1."""
        voices = voices.clone()
        # one by one: the rounding of a matrix product depends on the number of rows, but examples must be independent
        for row in np.flatnonzero(np.all(parameters, axis=1)):
            voices[row] = match_spectra(voices[row], sampling_rate)
        return voices


@dataclass(frozen=True, kw_only=True)
class Polarity(Augmentation):
    """Inverts each voice with probability one half: this is inaudible, but gives other mixtures of the same voices."""

    __pydantic_config__ = STRICT

    type: Literal["polarity"] = "polarity"

    def draw(self, rng: np.random.Generator, num_voices: int) -> list[float]:
        """Draw 1 or -1 for each voice."""
        return rng.choice([-1.0, 1.0], num_voices).tolist()

    def apply(self, voices: torch.Tensor, parameters: np.ndarray, sampling_rate: int) -> torch.Tensor:
        """Multiply each voice by its sign."""
        return voices * upload(parameters, voices.device)[..., None]


@dataclass(frozen=True, kw_only=True)
class FormantShift(Augmentation):
    """
    Moves the formants of a share of the voices, but not their pitch: the vocal tract of another person.

    With [`SpeedPerturbation`], which moves both, pitch and formants of a voice vary independently.
    """

    __pydantic_config__ = STRICT

    type: Literal["formant_shift"] = "formant_shift"
    factors: Range[Annotated[float, Field(ge=FORMANT_FACTORS[0], le=FORMANT_FACTORS[1])]]
    """Range [lowest, highest] of the factor by which formants move."""
    share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of the voices."""

    def draw(self, rng: np.random.Generator, num_voices: int) -> list[float]:
        """Draw a factor for each voice, 1 for those that stay."""
        factors = np.exp(rng.uniform(*np.log(self.factors), num_voices))
        return np.where(rng.random(num_voices) < self.share, factors, 1.0).tolist()

    def apply(self, voices: torch.Tensor, parameters: np.ndarray, sampling_rate: int) -> torch.Tensor:
        """Move the formants of each voice whose factor is not 1, and keep its power."""
        moved = voices.clone()
        # one by one: the frames of a crop take much memory, and most batches have voices that stay
        for place in zip(*np.nonzero(parameters != 1), strict=True):
            moved[place] = keep_power(
                shift_formants(voices[place], float(parameters[place]), sampling_rate), voices[place]
            )
        return moved


@dataclass(frozen=True, kw_only=True)
class Codec(Augmentation):
    """
    Sends a share of the voices through a lossy codec each, as in a call; the references are the decoded voices.

    Each voice is coded on the CPU: with speech on a GPU, keep the share small.
    """

    __pydantic_config__ = STRICT

    type: Literal["codec"] = "codec"
    codecs: Annotated[list[CodecName], Field(min_length=1)]
    """The codecs, drawn with equal probability."""
    share: Annotated[float, Field(gt=0, le=1)]
    """Share of the voices."""

    def check(self, sampling_rate: int) -> None:
        """Check that libsndfile has the codecs."""
        for codec in self.codecs:
            check_codec(codec, sampling_rate)

    def draw(self, rng: np.random.Generator, num_voices: int) -> list[float]:
        """Draw the position of a codec in the list for each voice, counted from 1; 0 for those that stay."""
        positions = rng.integers(1, len(self.codecs) + 1, num_voices)
        return np.where(rng.random(num_voices) < self.share, positions, 0).astype(float).tolist()

    def apply(self, voices: torch.Tensor, parameters: np.ndarray, sampling_rate: int) -> torch.Tensor:
        """Encode and decode each voice of a codec, whatever its level."""
        voices = voices.clone()
        for place in zip(*np.nonzero(parameters), strict=True):
            voices[place] = transmit(voices[place], self.codecs[int(parameters[place]) - 1], sampling_rate)
        return voices


@dataclass(frozen=True, kw_only=True)
class Turns(Augmentation):
    """
    A share of the mixtures has voices in turns, with pauses and overlaps, or one voice alone, or nobody.

    Recordings are conversations. The references hold silence then: train a family whose loss is defined for it.
    """

    __pydantic_config__ = STRICT

    type: Literal["turns"] = "turns"
    share: Annotated[float, Field(gt=0, le=1)]
    """Share of the mixtures; the others keep their full overlap."""
    lone_share: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Share of these mixtures in which one voice sounds alone."""
    silent_share: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Share of these mixtures in which nobody sounds: every reference and the mixture are silent."""

    def __post_init__(self):
        if self.lone_share + self.silent_share > 1:
            raise SettingsError(
                f"`lone_share` ({self.lone_share}) and `silent_share` ({self.silent_share}) must have a sum of at most 1."
            )

    def draw(self, rng: np.random.Generator, num_voices: int) -> list[float]:
        """
        A seed for each voice of a mixture with turns, the same for all.

        It is 0 for full overlap, negative for a lone voice, and infinite for nobody.
        """
        is_drawn, kind, seed = rng.random() < self.share, rng.random(), float(rng.integers(1, 2**24))
        if not is_drawn:
            return [0.0] * num_voices
        if kind >= 1 - self.silent_share:
            return [math.inf] * num_voices
        return [-seed if kind < self.lone_share else seed] * num_voices

    def apply(self, voices: torch.Tensor, parameters: np.ndarray, sampling_rate: int) -> torch.Tensor:
        """Open and close the gate of each voice."""
        num_voices, num_samples = voices.shape[1:]
        num_steps = max(1, round(num_samples / (STEP_S * sampling_rate)))
        gates = np.ones((len(voices), num_voices, num_steps), dtype=np.float32)
        for row in np.flatnonzero(np.all(parameters, axis=1)):
            seed = parameters[row, 0]
            if math.isinf(seed):
                gates[row] = 0
                continue
            draw = draw_lone_voice if seed < 0 else draw_gates
            gates[row] = draw(np.random.default_rng(int(abs(seed))), num_voices, num_steps)
        return gate_voices(voices, torch.from_numpy(gates).to(voices.device))


@dataclass(frozen=True, kw_only=True)
class SpeedPerturbation:
    """
    Plays each voice at one of several speeds, drawn with equal probability.

    It always comes first, because the speed determines the part of a recording that a crop needs.
    """

    __pydantic_config__ = STRICT

    type: Literal["speed_perturbation"] = "speed_perturbation"
    factors: Annotated[list[Annotated[float, Field(ge=SPEEDS[0], le=SPEEDS[1])]], Field(min_length=1)]
    """The speeds, 1.0 for unchanged."""

    def check(self, sampling_rate: int) -> None:
        """Accept every sampling rate."""

    def draw(self, rng: np.random.Generator) -> Fraction:
        """Draw the speed of one voice."""
        return Fraction(self.factors[int(rng.integers(len(self.factors)))]).limit_denominator(100)

    def apply(self, waveforms: torch.Tensor, speed: Fraction, num_samples: int) -> torch.Tensor:
        """Waveforms of one speed, (num_waveforms, num_samples before) to (num_waveforms, num_samples)"""
        return change_speed(waveforms, speed, num_samples)


AnyAugmentation = Annotated[
    SpeedPerturbation
    | SpectralTilt
    | DynamicRangeCompression
    | HighPass
    | LowPass
    | Reverberation
    | SharedSpectrum
    | Polarity
    | FormantShift
    | Codec
    | Turns,
    Field(discriminator="type"),
]
