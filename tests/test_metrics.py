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
import fast_bss_eval
import pytest
import torch
from torchmetrics.functional.audio import scale_invariant_signal_noise_ratio

from audioslots_hf.metrics import best_permutation, order_estimates, si_snr, si_snr_improvement


@pytest.fixture
def signals():
    generator = torch.Generator().manual_seed(0)
    references = torch.randn(4, 2, 4000, generator=generator, dtype=torch.float64)
    noise = torch.randn(4, 2, 4000, generator=generator, dtype=torch.float64)
    return references + 0.3 * noise + 0.2, references


def test_si_snr_agrees_with_two_independent_implementations(signals):
    estimates, references = signals
    ours = si_snr(estimates, references)
    torch.testing.assert_close(ours, scale_invariant_signal_noise_ratio(estimates, references), atol=1e-4, rtol=0)
    theirs = fast_bss_eval.si_sdr(references, estimates, zero_mean=True, return_perm=False)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


@pytest.mark.parametrize("snr_db", [-20.0, 0.0, 13.0, 60.0])
def test_si_snr_of_orthogonal_noise_is_its_level(snr_db):
    time = torch.arange(1000, dtype=torch.float64)
    reference, noise = (torch.sin(2 * torch.pi * k * time / 1000) for k in (3, 7))
    estimate = 5.0 * (reference + 10 ** (-snr_db / 20) * noise) + 2.0
    assert si_snr(estimate, reference).item() == pytest.approx(snr_db, abs=1e-6)


def test_silence_gives_a_finite_number():
    silence, signal = torch.zeros(100), torch.randn(100)
    for estimate, reference in ((silence, signal), (signal, silence), (silence, silence), (signal, signal)):
        assert torch.isfinite(si_snr(estimate, reference))
    assert si_snr(signal, signal) > 100


def test_estimates_are_put_into_the_order_of_the_references(signals):
    estimates, references = signals
    swapped = estimates.clone()
    swapped[1] = estimates[1].flip(0)
    assert best_permutation(swapped, references).tolist() == [[0, 1], [1, 0], [0, 1], [0, 1]]
    assert torch.equal(order_estimates(swapped, references), estimates)


def test_three_sources_are_ordered():
    references = torch.randn(1, 3, 500, generator=torch.Generator().manual_seed(1))
    assert torch.equal(order_estimates(references[:, [2, 0, 1]], references), references)


def test_the_mixture_itself_improves_by_nothing(signals):
    _, references = signals
    mixtures = references.sum(dim=1)
    ratios, improvements = si_snr_improvement(mixtures[:, None].expand(-1, 2, -1), references, mixtures)
    assert ratios.shape == improvements.shape == (4, 2)
    torch.testing.assert_close(improvements, torch.zeros(4, 2, dtype=torch.float64), atol=1e-9, rtol=0)
