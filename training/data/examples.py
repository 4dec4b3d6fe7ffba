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
"""Training examples by index; each depends only on the seed and its index."""

import functools
import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import PreTrainedConfig

from ..arguments import TrainingArguments
from ..settings import SettingsError
from .mixer import SpeechMixer
from .mixtures import MixtureList, load_mixtures
from .noise_floor import NoiseFloor
from .speech import load_speech


class TrainingExamples(Dataset):
    """
    Crops of mixtures for the steps of a run.

    Item `index` is a dictionary of float32 tensors: `mixture` (crop_length,) and `references` (num_sources, crop_length).
    Speech is drawn anew for every example. A list of mixtures is read epoch by epoch, each in another order. Any dataset with
    such items by index can replace this class.

    Args:
        mixer ([`SpeechMixer`], *optional*):
            Draws mixtures of speech.
        lists (`list` of [`MixtureList`]):
            Existing mixtures.
        sampling_weights (`Sequence` of `float`):
            Share of the draws of the mixer, if there is one, and then of each list.
        crop_length (`int`):
            Number of samples of a crop.
        seed (`int`):
            Each example depends on it and on its index.
        num_examples (`int`):
            Number of examples of the whole run.
    """

    def __init__(
        self,
        mixer: SpeechMixer | None,
        lists: list[MixtureList],
        sampling_weights: Sequence[float],
        crop_length: int,
        seed: int,
        num_examples: int,
    ):
        self.mixer = mixer
        self.lists = lists
        self.sampling_weights = [Fraction(weight) for weight in sampling_weights]
        self.crop_length = crop_length
        self.seed = seed
        self.num_examples = num_examples

    def __len__(self) -> int:
        return self.num_examples

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        rng = np.random.default_rng((self.seed, index))
        part, count = share_out(index, self.sampling_weights)
        if self.mixer is not None:
            if part == 0:
                references = self.mixer.draw(rng)
                return {"mixture": references.sum(dim=0), "references": references}
            part -= 1
        epoch, position = divmod(count, len(self.lists[part]))
        order = shuffled_order(self.seed, part, epoch, len(self.lists[part]))
        return self.crop(self.lists[part], int(order[position]), rng)

    def crop(self, mixtures: MixtureList, index: int, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        """A random span of a mixture; a shorter mixture is placed at a random position among zeros."""
        spare = mixtures.rows[index]["num_samples"] - self.crop_length
        start, place = int(rng.integers(max(spare, 0) + 1)), int(rng.integers(max(-spare, 0) + 1))
        mixture = mixtures.read(index, start, self.crop_length)
        tensors = {"mixture": mixture.waveform, "references": mixture.references}
        if spare >= 0:
            return tensors
        padding = (place, -spare - place)
        return {name: torch.nn.functional.pad(tensor, padding) for name, tensor in tensors.items()}


def share_out(index: int, sampling_weights: list[Fraction]) -> tuple[int, int]:
    """
    The part that example `index` comes from, and the number of earlier examples from it.

    The parts alternate by their sampling weights, so that every list is read evenly, without any state.
    """
    remaining = index
    for part, weight in enumerate(sampling_weights[:-1]):
        share = weight / sum(sampling_weights[part:])
        count = math.floor(remaining * share)
        if math.floor((remaining + 1) * share) > count:
            return part, count
        remaining -= count
    return len(sampling_weights) - 1, remaining


@functools.lru_cache(maxsize=4)
def shuffled_order(seed: int, part: int, epoch: int, length: int) -> np.ndarray:
    """The order of a list of mixtures in an epoch."""
    return np.random.default_rng((seed, part, epoch, length)).permutation(length)


def load_mixer(
    arguments: TrainingArguments, config: PreTrainedConfig, crop_length: int, show_progress: bool
) -> SpeechMixer:
    """Read the speech of a run and set up the drawing of its mixtures."""
    for index, augmentation in enumerate(arguments.augmentations):
        try:
            augmentation.check(config.sampling_rate)
        except SettingsError as error:
            raise SettingsError(f"`augmentations.{index}`: {error}") from error
    floors = [folder.noise_floor_db for folder in arguments.speech]
    return SpeechMixer(
        [
            load_speech(folder, config.sampling_rate, show_progress, arguments.is_unsupervised)
            for folder in arguments.speech
        ],
        # a mixture of mixtures is the sum of two recordings; a teacher separates one
        num_voices={"matched": config.num_sources, "mixit": 2, "remixit": 1}[arguments.objective],
        crop_length=crop_length,
        sampling_rate=config.sampling_rate,
        augmentations=arguments.augmentations,
        sampling_weights=[folder.weight for folder in arguments.speech],
        noise_floors=[None if floor is None else NoiseFloor(floor) for floor in floors],
    )


def load_examples(arguments: TrainingArguments, config: PreTrainedConfig, show_progress: bool) -> TrainingExamples:
    """Read the speech and the lists of a run and set up the drawing of examples."""
    crop_length = arguments.num_chunks * config.chunk_length
    mixer = load_mixer(arguments, config, crop_length, show_progress) if arguments.speech else None
    lists = [
        load_mixtures(
            item,
            config.sampling_rate,
            None if config.is_autoencoder else config.num_sources,
            show_progress=show_progress,
        )
        for item in arguments.mixtures
    ]
    for item, mixtures in zip(arguments.mixtures, lists, strict=True):
        if (found := len(mixtures.rows[0]["source_paths"])) != config.num_sources:
            raise SettingsError(
                f"{item.name} lists mixtures of {found} sources, but the model has {config.num_sources}: give single voices as "
                "`speech`."
            )
    sampling_weights = [sum(folder.weight for folder in arguments.speech)] if mixer is not None else []
    sampling_weights += [item.weight for item in arguments.mixtures]
    num_examples = arguments.max_steps * arguments.batch_size
    return TrainingExamples(mixer, lists, sampling_weights, crop_length, arguments.seed, num_examples)
