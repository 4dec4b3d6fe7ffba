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
from fractions import Fraction

import numpy as np
import pytest
import torch

from audioslots_hf import GalrConfig
from tests.data.helpers import DEBUG, SPEECH
from training.arguments import MixtureArguments, load_arguments
from training.data.augmentations import Polarity, SpectralTilt, SpeedPerturbation
from training.data.examples import TrainingExamples, load_examples, share_out, shuffled_order
from training.data.mixtures import MixtureList, load_mixtures
from training.data.noise_floor import NoiseFloor
from training.settings import SettingsError


def test_a_draw_depends_on_nothing_but_seed_and_index(build_mixer):
    mixer = build_mixer(SpeedPerturbation(factors=[0.9, 1.0, 1.1]), SpectralTilt(max_db=3.0))
    examples = TrainingExamples(mixer, [], [1.0], 4000, 72, 100)
    expected = examples[7]
    examples[3]
    again = examples[7]
    assert torch.equal(again["references"], expected["references"])
    assert not torch.equal(examples[8]["references"], expected["references"])
    assert expected["references"].shape == (2, 4000) and expected["references"].dtype == torch.float32
    torch.testing.assert_close(expected["mixture"], expected["references"].sum(dim=0))


class Numbered(MixtureList):
    """Mixtures that tell their index."""

    def __init__(self, num_samples: list[int]):
        self.rows = [{"num_samples": number} for number in num_samples]


def test_lists_are_gone_through_epoch_by_epoch_by_their_weights():
    examples = TrainingExamples(None, [Numbered([10] * 20), Numbered([10] * 5)], [2.0, 1.0], 10, 72, 300)
    drawn: list[tuple[int, int]] = []
    examples.crop = lambda mixtures, index, rng: drawn.append((len(mixtures), index))
    for index in range(30):
        examples[index]
    assert sorted(index for length, index in drawn if length == 20) == list(range(20))
    small = [index for length, index in drawn if length == 5]
    assert sorted(small[:5]) == sorted(small[5:]) == list(range(5))
    assert small[:5] != small[5:]
    assert not np.array_equal(shuffled_order(1, 0, 0, 20), shuffled_order(2, 0, 0, 20))


def test_every_part_counts_its_own_examples():
    counts = [0, 0, 0]
    for index in range(600):
        part, count = share_out(index, [Fraction(2), Fraction(1), Fraction(3)])
        assert count == counts[part]
        counts[part] += 1
    assert counts == [200, 100, 300]


def test_a_short_mixture_is_put_at_a_random_place_among_zeros(prepared):
    tree = load_mixtures(MixtureArguments(tree=str(prepared.folder(8000, "min"))), 8000, 2, show_progress=False)
    examples = TrainingExamples(None, [tree], [1.0], 60000, 72, 100)
    example = examples[0]
    assert example["mixture"].shape == (60000,) and example["references"].shape == (2, 60000)
    num_zeros = int((example["mixture"] == 0).sum())
    assert num_zeros >= 60000 - max(row["num_samples"] for row in tree.rows)
    assert not torch.equal(examples[3]["mixture"], example["mixture"])


def test_a_high_pass_that_leaves_nothing_is_refused_before_any_speech_is_read():
    overrides = ["augmentations=[{type: high_pass, cutoff_hz: [50.0, 8000.0]}]", "speech.0.root=nowhere"]
    with pytest.raises(SettingsError, match=r"augmentations\.0.*cutoff_hz.*8000\.0.*below 8000 Hz"):
        load_examples(load_arguments(DEBUG, overrides), GalrConfig(sampling_rate=16000), show_progress=False)


def test_the_speech_of_a_run_has_its_weights_noise_floors_and_augmentations():
    folders = f"speech=[{{root: {SPEECH}}}, {{root: {SPEECH}, weight: 3.0, noise_floor_db: [-50, -35]}}]"
    listed = "augmentations=[{type: speed_perturbation, factors: [0.5, 2.0]}, {type: polarity}]"
    arguments = load_arguments(DEBUG, [folders, listed])
    mixer = load_examples(arguments, GalrConfig(sampling_rate=16000), show_progress=False).mixer
    assert mixer.speed_perturbation.factors == [0.5, 2.0] and mixer.augmentations == [Polarity()]
    assert mixer.noise_floors == [None, NoiseFloor([-50.0, -35.0])]
    assert mixer.upper_bounds.tolist() == [0.25]
