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
import math
from itertools import permutations, product

import pytest
import torch

from audioslots_hf.losses import (
    all_assignments,
    matched_mse,
    matched_negative_si_snr,
    matched_snr,
    mixit_negative_snr,
    pairwise_mse,
    pairwise_negative_si_snr,
    speaker_contrastive_loss,
)
from audioslots_hf.metrics import si_snr


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def test_pairwise_mse_compares_every_estimate_with_every_reference(generator):
    estimates, references = torch.randn(2, 4, 3, 5, 6, generator=generator).unbind(0)
    costs = pairwise_mse(estimates, references)
    assert costs.shape == (4, 3, 3)
    torch.testing.assert_close(costs[1, 2, 0], (estimates[1, 2] - references[1, 0]).square().mean())


@pytest.mark.parametrize("num_sources", [2, 5, 6, 10])
def test_the_matched_mse_of_the_references_in_another_order_is_zero(num_sources, generator):
    references = torch.randn(8, num_sources, 4, 3, generator=generator)
    order = torch.stack([torch.randperm(num_sources, generator=generator) for _ in range(8)])
    estimates = references[torch.arange(8)[:, None], order]
    assert matched_mse(estimates, references) == 0


def test_matched_mse_is_the_smallest_over_all_orders(generator):
    estimates, references = torch.randn(2, 6, 3, 4, 5, generator=generator).unbind(0)
    losses = [(estimates - references[:, list(p)]).square().mean(dim=(1, 2, 3)) for p in permutations(range(3))]
    torch.testing.assert_close(matched_mse(estimates, references), torch.stack(losses).amin(dim=0).mean())


def test_the_gradient_is_that_of_the_matched_pairs(generator):
    estimates = torch.randn(1, 2, 4, generator=generator).requires_grad_()
    references = estimates.detach().flip(1) + 0.1
    matched_mse(estimates, references).backward()
    torch.testing.assert_close(estimates.grad, torch.full((1, 2, 4), -2 * 0.1 / 8))


def test_enumeration_compiles_without_a_graph_break(generator):
    compiled = torch.compile(matched_mse, fullgraph=True, backend="eager")
    estimates, references = torch.randn(2, 4, 3, 5, generator=generator).unbind(0)
    torch.testing.assert_close(compiled(estimates, references), matched_mse(estimates, references))


def test_another_number_of_references_is_an_error():
    with pytest.raises(ValueError, match=r"\(1, 3, 4\).*\(1, 2, 4\)"):
        matched_mse(torch.zeros(1, 2, 4), torch.zeros(1, 3, 4))


def test_negative_si_snr_is_the_metric_of_every_pair(generator):
    estimates, references = (3 + torch.randn(2, 4, 3, 500, generator=generator)).unbind(0)
    estimates = estimates + 2 * references
    expected = -si_snr(estimates.unsqueeze(2), references.unsqueeze(1))
    torch.testing.assert_close(pairwise_negative_si_snr(estimates, references).double(), expected, atol=1e-3, rtol=0)


def test_negative_si_snr_finds_the_order_and_ignores_the_scale(generator):
    references = torch.randn(2, 3, 500, generator=generator)
    noise = 0.1 * torch.randn(2, 3, 500, generator=generator)
    estimates = 7 * (references + noise)[:, [2, 0, 1]]
    expected = -si_snr(references + noise, references).mean()
    torch.testing.assert_close(matched_negative_si_snr(estimates, references).double(), expected, atol=1e-3, rtol=0)


def test_negative_si_snr_of_silence_is_finite_and_wants_silence(generator):
    references = torch.randn(1, 2, 500, generator=generator)
    references[:, 1] = 0
    losses = []
    for level in (1.0, 0.1, 0.0):
        estimates = torch.randn(1, 2, 500, generator=torch.Generator().manual_seed(1))
        estimates[:, 1] *= level
        estimates.requires_grad_()
        loss = matched_negative_si_snr(estimates, references)
        loss.backward()
        assert torch.isfinite(loss) and torch.isfinite(estimates.grad).all()
        losses.append(loss.item())
    assert losses[0] > losses[1] > losses[2]


def test_mixtures_with_a_silent_reference_are_measured_by_the_thresholded_snr_and_no_others(generator):
    sounding = torch.randn(2, 2, 500, generator=generator)
    silent = sounding * torch.tensor([[[1.0], [0.0]], [[0.05], [1.0]]])
    estimates = torch.cat([sounding, silent]) + 0.1 * torch.randn(4, 2, 500, generator=generator)
    parts = [matched_negative_si_snr(estimates[:2], sounding), matched_snr(estimates[2:], silent)[0]]
    loss = matched_negative_si_snr(estimates, torch.cat([sounding, silent]))
    torch.testing.assert_close(loss, torch.stack(parts).mean())


def test_a_leak_into_silence_costs_more_than_none_and_a_perfect_estimate_has_no_gradient_left(generator):
    references = torch.randn(1, 2, 500, generator=generator)
    references[:, 1] = 0
    perfect = references.clone().requires_grad_()
    leaking = references + torch.tensor([[[-0.1], [0.1]]]) * references[:, :1]
    best = matched_negative_si_snr(perfect, references)
    best.backward()
    assert float(best.detach()) == pytest.approx(-30, abs=1e-4)
    assert float(matched_negative_si_snr(leaking, references)) > -21
    assert perfect.grad.abs().max() < 1e-6


@pytest.mark.parametrize("loss", [matched_negative_si_snr, mixit_negative_snr])
def test_losses_of_waveforms_are_not_rounded_by_autocast(loss, generator):
    references = torch.randn(3, 2, 8000, generator=generator)
    # 25 dB: in bfloat16 the error would be the difference of two rounded numbers a thousand times as large
    estimates = references + 10 ** (-25 / 20) * torch.randn(3, 2, 8000, generator=generator)
    estimates.requires_grad_()
    expected = loss(estimates, references)
    (gradient,) = torch.autograd.grad(expected, estimates)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(estimates, references)
    (rounded,) = torch.autograd.grad(value, estimates)
    # of mixtures a little less, for its threshold
    assert float(expected.detach()) == pytest.approx(-25, abs=1.5)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(rounded, gradient)


def test_negative_si_snr_refuses_another_number_of_references():
    with pytest.raises(ValueError, match="one reference per source"):
        matched_negative_si_snr(torch.zeros(1, 2, 10), torch.zeros(1, 3, 10))


@pytest.mark.parametrize(("num_recordings", "num_sources"), [(2, 2), (2, 4), (3, 4)])
def test_all_assignments_give_each_estimate_to_one_recording(num_recordings, num_sources):
    assignments = all_assignments(num_recordings, torch.zeros(1, num_sources, 1))
    assert torch.equal(assignments.sum(dim=1), torch.ones(num_recordings**num_sources, num_sources))
    owners = {tuple(row) for row in assignments.argmax(dim=1).tolist()}
    assert owners == set(product(range(num_recordings), repeat=num_sources))


@pytest.mark.parametrize(("num_recordings", "num_sources"), [(2, 2), (2, 4), (3, 5)])
def test_mixit_is_the_best_over_all_ways_to_add_the_estimates_up(num_recordings, num_sources, generator):
    estimates = torch.randn(3, num_sources, 200, generator=generator)
    recordings = torch.randn(3, num_recordings, 200, generator=generator) + estimates[:, :num_recordings]
    losses = []
    for owners in product(range(num_recordings), repeat=num_sources):
        sums = torch.zeros_like(recordings).index_add(1, torch.tensor(owners), estimates)
        energies = recordings.square().sum(-1)
        ratios = energies / ((recordings - sums).square().sum(-1) + 1e-3 * energies)
        losses.append(-10 * torch.log10(ratios).mean(dim=-1))
    expected = torch.stack(losses).amin(dim=0).mean()
    torch.testing.assert_close(mixit_negative_snr(estimates, recordings), expected, atol=1e-4, rtol=0)


def test_mixit_of_the_true_sources_is_its_threshold_in_any_order(generator):
    sources = torch.randn(2, 4, 500, generator=generator)
    recordings = torch.stack([sources[:, 0] + sources[:, 1], sources[:, 2] + sources[:, 3]], dim=1)
    for order in permutations(range(4)):
        assert mixit_negative_snr(sources[:, order], recordings).item() == pytest.approx(-30, abs=1e-4)


def test_mixit_of_a_known_error_is_its_ratio(generator):
    recordings = torch.randn(2, 2, 500, generator=generator)
    # 1.1 times each: the error is a tenth of it, 20 dB below, and the threshold of 30 dB adds a tenth to its energy
    loss = mixit_negative_snr(1.1 * recordings, recordings)
    assert loss.item() == pytest.approx(-20 + 10 * math.log10(1.1), abs=1e-3)


def test_the_gradient_of_mixit_is_that_of_the_best_assignment(generator):
    recordings = torch.randn(1, 2, 300, generator=generator)
    estimates = torch.cat([0.4 * recordings[:, 1:], recordings[:, :1], 0.5 * recordings[:, 1:]], dim=1)
    estimates += 0.01 * torch.randn(estimates.shape, generator=generator)
    free, assigned = (estimates.clone().requires_grad_() for _ in range(2))
    mixit_negative_snr(free, recordings).backward()
    sums = torch.stack([assigned[:, 1], assigned[:, 0] + assigned[:, 2]], dim=1)
    mixit_negative_snr(sums, recordings).backward()
    torch.testing.assert_close(free.grad, assigned.grad)
    assert free.grad.abs().amin() > 0


def test_mixit_with_a_silent_recording_is_finite_and_wants_silence(generator):
    recordings = torch.randn(1, 2, 500, generator=generator)
    recordings[:, 1] = 0
    losses = []
    for level in (0.1, 0.01, 0.0):
        estimates = torch.cat([recordings[:, :1], level * torch.ones(1, 2, 500)], dim=1).requires_grad_()
        loss = mixit_negative_snr(estimates, recordings)
        loss.backward()
        assert torch.isfinite(loss) and torch.isfinite(estimates.grad).all()
        losses.append(loss.item())
    assert losses[0] > losses[1] > losses[2]


def test_mixit_compiles_without_a_graph_break(generator):
    compiled = torch.compile(mixit_negative_snr, fullgraph=True, backend="eager")
    estimates, recordings = torch.randn(2, 4, 50, generator=generator), torch.randn(2, 2, 50, generator=generator)
    torch.testing.assert_close(compiled(estimates, recordings), mixit_negative_snr(estimates, recordings))


@pytest.mark.parametrize("shape", [(1, 5, 10), (1, 2, 11), (2, 2, 10), (2, 10)])
def test_mixit_refuses_recordings_that_do_not_fit(shape):
    with pytest.raises(ValueError, match="no more recordings than sources"):
        mixit_negative_snr(torch.zeros(1, 4, 10), torch.zeros(shape))


@pytest.fixture
def chunks(generator):
    """Four chunks of two recordings of three sources: references, and estimates of them in an order of each chunk."""
    references = torch.randn(4, 3, 50, generator=generator)
    orders = torch.stack([torch.randperm(3, generator=generator) for _ in range(4)])
    return references, references[torch.arange(4)[:, None], orders], orders


@pytest.mark.parametrize("common", [0.0, 7.0])
def test_embeddings_that_know_every_speaker_have_no_contrastive_loss(chunks, common, generator):
    references, estimates, orders = chunks
    speakers = torch.stack([20 * torch.eye(3), -20 * torch.eye(3)])
    recording_ids = torch.tensor([0, 1, 1, 0])
    embeddings = speakers[recording_ids][torch.arange(4)[:, None], orders]
    # parts that all sources of a chunk share have no influence
    embeddings = embeddings + common * torch.randn(4, 1, 3, generator=generator)
    assert speaker_contrastive_loss(embeddings, estimates, references, recording_ids) < 1e-3
    mistaken = embeddings.clone()
    mistaken[3] = mistaken[3].roll(1, dims=0)
    assert speaker_contrastive_loss(mistaken, estimates, references, recording_ids) > 10


def test_the_contrastive_loss_of_no_knowledge_is_that_of_guessing(chunks):
    references, estimates, _ = chunks
    embeddings = torch.ones(4, 3, 5, requires_grad=True)
    loss = speaker_contrastive_loss(embeddings, estimates, references, torch.zeros(4, dtype=torch.long))
    assert loss.item() == pytest.approx(math.log(3))
    # nobody to be told from
    loss = speaker_contrastive_loss(embeddings, estimates, references, torch.arange(4))
    loss.backward()
    assert loss == 0 and not embeddings.grad.any()


def test_the_contrastive_loss_is_that_of_all_pairs(chunks, generator):
    references, estimates, orders = chunks
    embeddings = torch.randn(4, 3, 5, generator=generator)
    recording_ids = torch.tensor([5, 2, 5, 5])
    centred = embeddings - embeddings.mean(dim=1, keepdim=True)
    losses = []
    for one, other in permutations((0, 2, 3), 2):
        a, b = (centred[chunk][orders[chunk].argsort()] for chunk in (one, other))
        losses.append(torch.nn.functional.cross_entropy(a @ b.T / 5**0.5, torch.arange(3)))
    loss = speaker_contrastive_loss(embeddings, estimates, references, recording_ids)
    torch.testing.assert_close(loss, torch.stack(losses).mean())


def test_chunks_in_which_nobody_can_be_told_apart_have_no_contrastive_loss(chunks, generator):
    references, estimates, _ = chunks
    embeddings = torch.randn(4, 3, 5, generator=generator)
    recording_ids = torch.zeros(4, dtype=torch.long)
    expected = speaker_contrastive_loss(embeddings[:3], estimates[:3], references[:3], recording_ids[:3])
    # of two silent references either may be taken for the other
    silent = references.clone()
    silent[3, 1:] = 0
    torch.testing.assert_close(speaker_contrastive_loss(embeddings, estimates, silent, recording_ids), expected)
    silent[3, 1] = 1.0
    assert (speaker_contrastive_loss(embeddings, estimates, silent, recording_ids) - expected).abs() > 1e-3


def test_recordings_that_are_not_named_for_every_chunk_are_an_error(chunks):
    references, estimates, _ = chunks
    with pytest.raises(ValueError, match=r"`recording_ids` has shape \(1,\) but must have \(4,\)"):
        speaker_contrastive_loss(torch.zeros(4, 3, 5), estimates, references, torch.zeros(1))
