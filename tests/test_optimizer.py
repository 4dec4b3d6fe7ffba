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
from pathlib import Path

import torch

from audioslots_hf import GalrConfig, GalrForAudioSeparation
from training.arguments import load_arguments
from training.optimizer import build_optimizers, build_schedule, update_weights


DEBUG = Path(__file__).parents[1] / "training" / "configs" / "debug.yaml"


def test_the_learning_rate_steps_down_after_a_linear_warm_up():
    arguments = load_arguments(DEBUG, ["decay_rate=0.5", "decay_steps=10", "warmup_steps=4", "learning_rate=1"])
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=arguments.learning_rate)
    scheduler = build_schedule(optimizer, arguments)
    rates = []
    for _ in range(31):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert (rates[9], rates[10], rates[20], rates[30]) == (1.0, 0.5, 0.25, 0.125)


def take_a_step(optimizer: str) -> dict[str, torch.Tensor]:
    """The change of each weight of a small model by the first step at full rate."""
    arguments = load_arguments(DEBUG, [f"optimizer={optimizer}", "learning_rate=0.1", "warmup_steps=0"])
    torch.manual_seed(0)
    model = GalrForAudioSeparation(
        GalrConfig(hidden_size=16, lstm_hidden_size=8, num_hidden_layers=1, segment_length=8, summary_length=4)
    )
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    model(torch.randn(2, 640), labels=torch.randn(2, 2, 640)).loss.backward()
    optimizers = build_optimizers(model, arguments)
    update_weights(model, optimizers, [build_schedule(item, arguments) for item in optimizers], None)
    assert all(weight.grad is None for weight in model.parameters())
    return {name: weight.detach() - before[name] for name, weight in model.named_parameters()}


def test_muon_moves_matrices_as_far_in_every_direction_and_leaves_the_rest_to_adam():
    muon, adam = take_a_step("muon"), take_a_step("adam")
    for name, change in muon.items():
        if change.ndim != 2:
            torch.testing.assert_close(change, adam[name], msg=name)
            continue
        # the root mean square of an orthogonal matrix of this shape becomes 0.2 times the rate; five iterations leave
        # its singular values between 0.7 and 1.2 (Jordan et al. 2024), where those of a gradient are magnitudes apart
        sizes = torch.linalg.svdvals(change) / (0.1 * 0.2 * max(change.shape) ** 0.5)
        assert 0.6 < sizes.median() < 1.3 and sizes.max() < 1.3, (name, sizes)
    assert sum(change.ndim == 2 for change in muon.values()) > 10
