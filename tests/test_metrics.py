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
import sys

import fast_bss_eval
import pytest
import soundfile
import torch
from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio

from audioslots_hf.metrics import (
    MAX_SDR_DB,
    best_order,
    order_estimates,
    score_separation,
    sdr,
    si_snr,
    si_snr_improvement,
)
from tests.conftest import SAMPLES


@pytest.fixture
def signals():
    generator = torch.Generator().manual_seed(0)
    references = torch.randn(4, 2, 4000, generator=generator, dtype=torch.float64)
    noise = torch.randn(4, 2, 4000, generator=generator, dtype=torch.float64)
    return references + 0.3 * noise + 0.2, references


@pytest.fixture(scope="module")
def speech():
    """Two real voices with a share of each in the other and some noise, and the voices themselves."""
    voices = [soundfile.read(SAMPLES / f"two_voices_source_{index}.flac")[0] for index in range(2)]
    references = torch.stack([torch.from_numpy(voice[16000:48000]) for voice in voices])[None]
    noise = torch.randn(references.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return references + 0.3 * references.flip(1) + 0.002 * noise, references


@pytest.mark.parametrize("kind", ["signals", "speech"])
def test_si_snr_agrees_with_two_independent_implementations(request, kind):
    estimates, references = request.getfixturevalue(kind)
    ours = si_snr(estimates, references)
    theirs = scale_invariant_signal_distortion_ratio(estimates, references, zero_mean=True)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
    theirs = fast_bss_eval.si_sdr(references, estimates, zero_mean=True, return_perm=False)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", ["signals", "speech"])
def test_sdr_agrees_with_fast_bss_eval(request, kind):
    estimates, references = request.getfixturevalue(kind)
    theirs = fast_bss_eval.sdr(references, estimates, return_perm=False)
    # the load on the diagonal costs 1e-9 dB here
    torch.testing.assert_close(sdr(estimates, references), theirs, atol=1e-4, rtol=0)


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
    # no better than any other track, unless the reference is silent
    assert si_snr(silence, signal) == -150 and si_snr(silence, silence) == 0


@pytest.mark.parametrize("snr_db", [-20.0, 0.0, 13.0, 60.0])
def test_sdr_of_noise_out_of_reach_of_the_filter_is_its_level(snr_db):
    # the noise is later than the longest filter, so that no part of it can be made of the reference
    reference, noise = torch.zeros(2, 4000, dtype=torch.float64)
    reference[:1000] = torch.randn(1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    noise[2000:3000] = reference[:1000]
    estimate = 5.0 * (reference + 10 ** (-snr_db / 20) * noise)
    assert sdr(estimate, reference).item() == pytest.approx(snr_db, abs=1e-4)


def test_sdr_forgives_a_filter_of_512_taps_and_no_longer_one(signals):
    reference = torch.nn.functional.pad(signals[1][0, 0], (0, 600))
    assert sdr(reference.roll(511), reference) > 100
    assert sdr(reference.roll(512), reference) < 0
    assert si_snr(reference.roll(511), reference) < 0


@pytest.mark.parametrize("gain", [1.0, 1e-12, 1e6])
def test_sdr_leaves_the_level_open(signals, gain):
    estimates, references = signals
    torch.testing.assert_close(sdr(gain * estimates, references), sdr(estimates, references), atol=1e-9, rtol=0)


@pytest.mark.parametrize("num_samples", [1, 2, 100, 511, 4000])
def test_the_sdr_of_silence_and_of_perfection_is_finite(num_samples):
    silence, signal = torch.zeros(num_samples), torch.randn(num_samples, generator=torch.Generator().manual_seed(0))
    for estimate, reference in ((silence, signal), (signal, silence), (silence, silence)):
        assert sdr(estimate, reference) == -MAX_SDR_DB
    # the limit set by 1e-12 of the energy on the diagonal, and by rounding
    assert sdr(signal, signal).item() == pytest.approx(MAX_SDR_DB, abs=1)


def test_the_sdr_of_a_single_tone_is_no_singular_case():
    tone = torch.sin(torch.arange(8000) * 0.17).double()
    noise = torch.randn(8000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert sdr(tone, tone).item() == pytest.approx(MAX_SDR_DB, abs=1)
    # white noise at -20 dB, of which the filter reaches no more than the bins at the tone
    assert sdr(tone + 0.1 * tone.std() * noise, tone).item() == pytest.approx(20, abs=1)


def test_sdr_without_torchmetrics_names_the_fix(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchmetrics.functional.audio", None)
    with pytest.raises(ImportError, match=r'pip install "audioslots-hf\[metrics\]"'):
        sdr(torch.ones(10), torch.ones(10))


def test_estimates_are_put_into_the_order_of_the_references(signals):
    estimates, references = signals
    swapped = estimates.clone()
    swapped[1] = estimates[1].flip(0)
    assert best_order(swapped, references).tolist() == [[0, 1], [1, 0], [0, 1], [0, 1]]
    assert torch.equal(order_estimates(swapped, references), estimates)


@pytest.mark.parametrize("num_sources", [2, 3, 4, 5])
def test_any_number_of_sources_is_put_in_order(num_sources):
    generator = torch.Generator().manual_seed(num_sources)
    references = torch.randn(3, num_sources, 500, generator=generator)
    noise = torch.randn(3, num_sources, 500, generator=generator)
    permutations = torch.stack([torch.randperm(num_sources, generator=generator) for _ in range(3)])
    estimates = torch.stack([rows[order] for rows, order in zip(references + noise, permutations, strict=True)])
    assert torch.equal(best_order(estimates, references), permutations.argsort(dim=-1))
    assert torch.equal(order_estimates(estimates, references), references + noise)


def test_the_mixture_itself_improves_by_nothing(signals):
    _, references = signals
    mixtures = references.sum(dim=1)
    ratios, improvements = si_snr_improvement(mixtures[:, None].expand(-1, 2, -1), references, mixtures)
    assert ratios.shape == improvements.shape == (4, 2)
    torch.testing.assert_close(improvements, torch.zeros(4, 2, dtype=torch.float64), atol=1e-9, rtol=0)


def test_all_scores_are_those_of_the_single_metrics(speech):
    estimates, references = speech
    mixtures = references.sum(dim=1)
    scores = score_separation(estimates.flip(1), references, mixtures)
    assert list(scores) == ["order", "si_snr", "si_snri", "sdr", "sdri"]
    assert scores["order"].tolist() == [[1, 0]]
    ratios, improvements = si_snr_improvement(estimates, references, mixtures)
    assert torch.equal(scores["si_snr"], ratios) and torch.equal(scores["si_snri"], improvements)
    assert torch.equal(scores["sdr"], sdr(estimates, references))
    of_mixture = sdr(mixtures[:, None].expand_as(references), references)
    assert torch.equal(scores["sdri"], scores["sdr"] - of_mixture)
    assert list(score_separation(estimates, references)) == ["order", "si_snr", "sdr"]
    assert list(score_separation(estimates, references, mixtures, with_sdr=False)) == [
        "order",
        "si_snr",
        "si_snri",
    ]
