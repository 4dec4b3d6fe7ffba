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
Speech that lives on the device: a whole corpus as int16 in its memory, and mixtures drawn there: nothing is read or copied.

What is drawn is the same as from memory or from disk: the places, gains, speeds, tilts and channels of [`SpeechMixer`], example by
example. Only the resampling filter (torchaudio's in place of SciPy's, on a GPU in TF32) and the samples of the noise floor differ.
"""

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import torch

from ..arguments import SettingsError
from .channel import compress, high_pass, match_spectra
from .loudness import MAX_PEAK, gain_between
from .speech import DrawnVoice, SpeechMixer, tilt_coefficient


class ResidentSpeech:
    """
    The speech of a [`SpeechMixer`] on a device, and how its mixtures sound.

    Args:
        mixer ([`SpeechMixer`]):
            Draws what sounds; all of its speech must be in memory. An hour takes 115 MB of the device.
        device (`torch.device`):
            Where the speech goes.

    Raises:
        `SettingsError`: torchaudio, which changes the speed, is missing or does not go with torch.
    """

    def __init__(self, mixer: SpeechMixer, device: torch.device):
        self.mixer = mixer
        self.device = device
        utterances = [item for folder in mixer.speech for speaker in folder for item in speaker]
        lengths = np.array([item.num_samples for item in utterances])
        self.offsets = {id(item): int(end) for item, end in zip(utterances, lengths.cumsum() - lengths, strict=True)}
        self.samples = torch.from_numpy(np.concatenate([item.samples for item in utterances])).to(device)
        self.resamplers = {speed: build_resampler(speed).to(device) for speed in mixer.speeds if speed != 1}

    def draw(self, seed: int, indices: range) -> torch.Tensor:
        """The voices of the mixtures of some examples, float32 (len(indices), num_voices, crop_length), on the device."""
        drawn = [self.mixer.draw_voices(np.random.default_rng((seed, index))) for index in indices]
        voices = self.render([voice for mixture in drawn for voice in mixture]).view(
            len(indices), -1, self.mixer.crop_length
        )
        # one by one: a product of matrices rounds by the number of rows, and an example depends on itself alone
        for row, mixture in enumerate(drawn):
            if mixture[0].shares_channel:
                voices[row] = match_spectra(voices[row], self.mixer.sampling_rate)
        peaks = voices.sum(dim=1, keepdim=True).abs().amax(dim=2, keepdim=True)
        return voices * (MAX_PEAK / peaks.clamp(min=1e-8)).clamp(max=1.0)

    def render(self, voices: list[DrawnVoice]) -> torch.Tensor:
        """The samples of voices, float32 (num_voices, crop_length)"""
        samples = torch.empty(len(voices), self.mixer.crop_length, device=self.device)
        for speed in sorted({voice.speed for voice in voices}):
            rows = [row for row, voice in enumerate(voices) if voice.speed == speed]
            crops = self.cut([voices[row] for row in rows])
            if speed != 1:
                crops = self.resamplers[speed](crops)
            samples[self.upload(rows)] = crops[:, : self.mixer.crop_length]
        samples *= self.upload([gain_between(voice.utterance.loudness, 0.0) for voice in voices])[:, None]
        zeros = [0.0 if voice.tilt_db == 0 else tilt_coefficient(voice.tilt_db) for voice in voices]
        # a filter of one zero, from silence on
        samples[:, 1:] += self.upload(zeros)[:, None] * samples[:, :-1]
        self.add_noise(samples, voices)
        if self.mixer.arguments.compression > 0:
            samples = compress(samples, self.upload([voice.compression for voice in voices]), self.mixer.sampling_rate)
        if self.mixer.arguments.high_pass_hz is not None:
            cutoffs_hz = self.upload([voice.high_pass_hz for voice in voices])
            samples = high_pass(samples, cutoffs_hz, self.mixer.sampling_rate)
        return samples * self.upload([gain_between(0.0, voice.loudness) for voice in voices])[:, None]

    def cut(self, voices: list[DrawnVoice]) -> torch.Tensor:
        """The spans of voices of one speed, float32 (num_voices, num_samples); silence where an utterance has ended."""
        positions = torch.arange(voices[0].num_samples, device=self.device)
        positions = positions + self.upload([voice.start for voice in voices])[:, None]
        lengths = self.upload([voice.utterance.num_samples for voice in voices])[:, None]
        offsets = self.upload([self.offsets[id(voice.utterance)] for voice in voices])[:, None]
        inside = (positions >= 0) & (positions < lengths)
        return self.samples[offsets + torch.where(inside, positions, 0)] * inside / 32768

    def add_noise(self, samples: torch.Tensor, voices: list[DrawnVoice]) -> None:
        """Give the voices that ask for it a white noise floor, each from its own seed."""
        generator = torch.Generator(self.device)
        for row, voice in enumerate(voices):
            if voice.noise_floor_db is not None:
                generator.manual_seed(voice.noise_seed)
                noise = torch.randn(samples.shape[1], generator=generator, device=self.device)
                samples[row].add_(noise, alpha=gain_between(0.0, voice.noise_floor_db))

    def upload(self, values: list[int] | list[float]) -> torch.Tensor:
        """Numbers on the device, without waiting for it: float32 or int64 (len(values),)"""
        tensor = torch.tensor(values, dtype=torch.float32 if isinstance(values[0], float) else torch.int64)
        if self.device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self.device, non_blocking=True)


def build_resampler(speed: Fraction) -> torch.nn.Module:
    """Plays faster by a factor, as [`SpeechMixer`] does on the CPU."""
    try:
        from torchaudio.transforms import Resample
    except (ImportError, OSError, RuntimeError) as error:
        raise SettingsError(
            f'`speech_on_device` changes speeds by torchaudio: pip install "audioslots-hf[train]", or set `speeds` to [1.0] '
            f"({error})"
        ) from error
    return Resample(speed.numerator, speed.denominator)


class ResidentLoader:
    """
    The batches of a run like those of its `DataLoader`, made where they are needed.

    Args:
        speech ([`ResidentSpeech`]):
            Where the mixtures come from.
        seed (`int`):
            Of the run; an example is a function of it and of its number.
        examples (`range`):
            The numbers of all examples that are left.
        part_size (`int`):
            Number of examples of a batch of one process.
        process_index, num_processes (`int`):
            The processes take turns.
    """

    def __init__(
        self,
        speech: ResidentSpeech,
        seed: int,
        examples: range,
        part_size: int,
        process_index: int = 0,
        num_processes: int = 1,
    ):
        self.speech = speech
        self.seed = seed
        self.examples = examples
        self.part_size = part_size
        self.process_index = process_index
        self.num_processes = num_processes

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        stride = self.part_size * self.num_processes
        for start in range(self.process_index * self.part_size, len(self.examples), stride):
            references = self.speech.draw(self.seed, self.examples[start : start + self.part_size])
            yield {"mixture": references.sum(dim=1), "references": references}
