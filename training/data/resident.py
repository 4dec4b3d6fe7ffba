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
Speech on the device: a whole corpus as int16 in its memory, from which mixtures are drawn without reading or copying.

[`SpeechMixer`] draws and renders the same examples as in workers; only the samples of the noise floor differ.
"""

from collections.abc import Iterator

import numpy as np
import torch

from .augmentations import upload
from .mixer import DrawnVoice, SpeechMixer


class ResidentSpeech:
    """
    The speech of a [`SpeechMixer`] on a device, and its mixtures.

    Args:
        mixer ([`SpeechMixer`]):
            Draws and renders; all of its speech must be in memory. An hour takes 115 MB of the device.
        device (`torch.device`):
            Device for the speech.
    """

    def __init__(self, mixer: SpeechMixer, device: torch.device):
        self.mixer = mixer
        self.device = device
        utterances = [item for folder in mixer.speech for speaker in folder for item in speaker]
        lengths = np.array([item.num_samples for item in utterances])
        self.offsets = {id(item): int(end) for item, end in zip(utterances, lengths.cumsum() - lengths, strict=True)}
        self.samples = torch.from_numpy(np.concatenate([item.samples for item in utterances])).to(device)

    def draw(self, seed: int, indices: range) -> torch.Tensor:
        """The voices of the mixtures of some examples, float32 (len(indices), num_voices, crop_length), on the device."""
        mixtures = [self.mixer.draw_mixture(np.random.default_rng((seed, index))) for index in indices]
        return self.mixer.render(mixtures, self.cut)

    def cut(self, voices: list[DrawnVoice]) -> torch.Tensor:
        """The spans of voices of one speed, float32 (num_voices, num_samples), padded with silence."""
        positions = torch.arange(voices[0].num_samples, device=self.device)
        positions = positions + upload([voice.start for voice in voices], self.device)[:, None]
        lengths = upload([voice.utterance.num_samples for voice in voices], self.device)[:, None]
        offsets = upload([self.offsets[id(voice.utterance)] for voice in voices], self.device)[:, None]
        inside = (positions >= 0) & (positions < lengths)
        return self.samples[offsets + torch.where(inside, positions, 0)] * inside / 32768


class ResidentLoader:
    """
    The batches of a run, as from its `DataLoader`, but made on the device.

    Args:
        speech ([`ResidentSpeech`]):
            Source of the mixtures.
        seed (`int`):
            Seed of the run; each example depends on it and on its index.
        examples (`range`):
            The indices of all remaining examples.
        part_size (`int`):
            Number of examples of a batch of one process.
        process_index, num_processes (`int`):
            The processes alternate.
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
