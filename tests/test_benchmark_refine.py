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
import argparse
import json

import pytest
import torch

from audioslots_hf import SlotGalrConfig
from tests.conftest import SAMPLES
from tests.training_helpers import CONFIGS
from training.benchmark import refine as benchmark
from training.benchmark.refiner import Refiner, add_noise, flow_loss, refine
from training.settings import SettingsError


SETTINGS = [
    str(CONFIGS / "debug.yaml"),
    "model={pretrained: galr-small, chunk_length: 8000}",
    f"speech.0.root={SAMPLES / 'speech'}",
    f"valid.metadata={SAMPLES / 'valid.csv'}",
    f"valid.root={SAMPLES / 'speech'}",
    "num_valid_mixtures=1",
    "batch_size=1",
]
OPTIONS = (
    f"--metadata={SAMPLES / 'valid.csv'}",
    f"--root={SAMPLES / 'speech'}",
    "--num-mixtures=1",
    "--hidden-size=8",
    "--layers=1",
    "--steps=1",
)


def build_options(output, *values: str, overrides: tuple[str, ...] = ()) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    benchmark.add_arguments(parser)
    return parser.parse_args([*SETTINGS, *overrides, *OPTIONS, f"--output={output}", *values])


def build_trained_refiner() -> Refiner:
    """A tiny flow whose velocities are not zero."""
    torch.manual_seed(0)
    refiner = Refiner(SlotGalrConfig(map_hidden_size=8, map_intermediate_size=8, num_source_layers=1)).eval()
    for decoder in (refiner.source_decoder, refiner.mixture_decoder):
        for projection in decoder.bands:
            torch.nn.init.normal_(projection.weight, std=0.1)
    return refiner


def draw_sources(num_samples: int = 1600) -> torch.Tensor:
    return torch.randn(2, 3, num_samples, generator=torch.Generator().manual_seed(1))


def test_an_untrained_flow_leaves_the_estimates_but_for_the_noise():
    refiner = Refiner(SlotGalrConfig(map_hidden_size=8, map_intermediate_size=8, num_source_layers=1))
    sources = draw_sources()
    torch.manual_seed(2)
    levels = sources.sum(dim=1).square().mean(dim=-1).sqrt()[:, None, None]
    expected = levels * add_noise(sources / levels)
    torch.manual_seed(2)
    torch.testing.assert_close(refine(refiner, sources, sources.sum(dim=1), 2), expected)
    assert 0 < (expected - sources).square().mean().sqrt() / levels.mean() < 0.05


def test_refined_sources_add_up_to_mixtures_of_any_length():
    sources = draw_sources(1601)
    refined = refine(build_trained_refiner(), sources, sources.sum(dim=1), 3)
    assert (refined - sources).abs().max() > 0.1
    torch.testing.assert_close(refined.sum(dim=1), sources.sum(dim=1), rtol=0, atol=1e-4)


def test_velocities_follow_the_order_of_the_sources():
    refiner, sources, order = build_trained_refiner(), draw_sources(), [2, 0, 1]
    times = torch.tensor([0.0, 0.5])
    velocities = refiner(sources, sources.sum(dim=1), times)
    torch.testing.assert_close(refiner(sources[:, order], sources.sum(dim=1), times), velocities[:, order])
    assert (velocities[:, order] - velocities).abs().max() > 0.1


def test_the_loss_reaches_every_weight_and_falls():
    refiner, references = build_trained_refiner(), draw_sources()
    estimates = references + 0.5 * torch.randn_like(references)
    # the order of estimates is free
    estimates = (estimates - (estimates - references).mean(dim=1, keepdim=True)).flip(1)
    optimizer = torch.optim.Adam(refiner.parameters(), lr=0.01)
    losses = []
    for _ in range(20):
        torch.manual_seed(3)
        loss = flow_loss(refiner, estimates, references)
        optimizer.zero_grad()
        loss.backward()
        assert all(weight.grad.any() for weight in refiner.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 1


def test_the_benchmark_trains_a_flow_and_compares_it_with_two_passes(tmp_path, capsys):
    results = benchmark.run(build_options(tmp_path, "--minutes=0.01"))
    assert list(results["rows"]) == ["1 pass", "2 passes", "1 pass, 1 step of the flow"]
    assert results["rows"]["1 pass"]["gain_db"] == 0
    assert results["rows"]["1 pass, 1 step of the flow"]["relative_time"] > 1
    assert results["curve"][-1]["minutes"] >= 0.01
    assert json.loads((tmp_path / "refine.json").read_text())["curve"] == results["curve"]
    assert (tmp_path / "refine.png").exists()
    assert (tmp_path / "refiner.safetensors").exists()
    assert "| 2 passes |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("overrides", "values", "message"),
    [
        ((), ("--minutes=0",), r"`--minutes` \(0.0\)"),
        ((), ("--minutes=1", "--steps=0"), r"`--steps` \(\[0\]\)"),
        (("valid=null",), ("--minutes=1",), "needs `valid`"),
        (("model={pretrained: audioslots-small}",), ("--minutes=1",), "does not estimate waveforms"),
    ],
)
def test_settings_without_a_flow_are_refused(tmp_path, overrides, values, message):
    with pytest.raises(SettingsError, match=message):
        benchmark.run(build_options(tmp_path, *values, overrides=overrides))
