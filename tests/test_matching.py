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
from itertools import permutations

import pytest
import torch
from scipy.optimize import linear_sum_assignment

from audioslots_hf.matching import (
    MAX_ENUMERATED_SOURCES,
    UNMATCHED,
    all_permutations,
    enumerate_orders,
    match_estimates,
    matched_costs,
    reorder_estimates,
    solve_assignment,
)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("num_sources", [1, 2, 3, 4, 5])
def test_all_permutations_are_tried(num_sources):
    found = {tuple(row) for row in all_permutations(torch.arange(num_sources)).tolist()}
    assert found == set(permutations(range(num_sources)))


@pytest.mark.parametrize("num_sources", [1, 2, 3, 4, 5])
def test_enumeration_equals_the_hungarian_solver(num_sources, generator):
    costs = torch.rand(50, num_sources, num_sources, generator=generator)
    assert torch.equal(enumerate_orders(costs), solve_assignment(costs))


@pytest.mark.parametrize("num_references", [1, 2, 4, 5, 7])
@pytest.mark.parametrize("num_estimates", [1, 2, 3, 5, 6, 8])
def test_orders_are_those_of_scipy_for_any_numbers(num_estimates, num_references, generator):
    costs = torch.rand(20, num_estimates, num_references, generator=generator)
    orders = match_estimates(costs)
    assert orders.shape == (20, num_references) and orders.dtype == torch.int64
    for matrix, order in zip(costs, orders.tolist(), strict=True):
        references, estimates = linear_sum_assignment(matrix.T.numpy())
        expected = dict(zip(references.tolist(), estimates.tolist(), strict=True))
        assert order == [expected.get(reference, UNMATCHED) for reference in range(num_references)]


@pytest.mark.parametrize("num_sources", [3, 5, 6, 10])
def test_the_order_says_which_estimate_belongs_to_each_reference(num_sources, generator):
    order = torch.stack([torch.randperm(num_sources, generator=generator) for _ in range(8)])
    costs = torch.ones(8, num_sources, num_sources)
    costs[torch.arange(8)[:, None], order, torch.arange(num_sources)] = 0
    assert torch.equal(match_estimates(costs), order)
    assert not matched_costs(costs).any()


@pytest.mark.parametrize("num_references", [1, 2, 3, 5, 6])
@pytest.mark.parametrize("num_estimates", [1, 2, 3, 5, 6])
def test_where_all_orders_are_as_good_the_one_that_is_there_stays(num_estimates, num_references):
    order = match_estimates(torch.zeros(1, num_estimates, num_references))[0].tolist()
    assert order == [index if index < num_estimates else UNMATCHED for index in range(num_references)]


@pytest.mark.parametrize("num_sources", [2, 6])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_costs_that_are_not_finite_still_give_an_order(num_sources, value):
    order = match_estimates(torch.full((1, num_sources, num_sources), value))
    assert sorted(order[0].tolist()) == list(range(num_sources))


@pytest.mark.parametrize("num_references", [2, MAX_ENUMERATED_SOURCES + 1])
def test_references_beyond_the_estimates_get_silence(num_references, generator):
    references = torch.randn(4, num_references, 7, generator=generator)
    estimates = references[:, 1:].flip(1)
    costs = (estimates.unsqueeze(2) - references.unsqueeze(1)).square().mean(dim=-1)
    expected = references.clone()
    expected[:, 0] = 0
    assert torch.equal(reorder_estimates(estimates, match_estimates(costs)), expected)


def test_slots_that_belong_to_no_reference_are_left_out(generator):
    references = torch.randn(4, 2, 3, 5, generator=generator)
    estimates = torch.stack([torch.full((4, 3, 5), 9.0), references[:, 1], references[:, 0]], dim=1)
    costs = (estimates.unsqueeze(2) - references.unsqueeze(1)).square().mean(dim=(-1, -2))
    orders = match_estimates(costs)
    assert orders.tolist() == [[2, 1]] * 4
    assert torch.equal(reorder_estimates(estimates, orders), references)


def test_the_gradient_reaches_the_matched_costs_alone():
    costs = torch.tensor([[[3.0, 1.0], [1.0, 3.0]]], requires_grad=True)
    matched_costs(costs).sum().backward()
    assert costs.grad.tolist() == [[[0, 1], [1, 0]]]


@pytest.mark.parametrize("shape", [(4, 3, 3), (4, 4, 2), (4, 2, 4)])
def test_enumeration_of_any_numbers_compiles_without_a_graph_break(shape, generator):
    costs = torch.rand(shape, generator=generator)
    compiled = torch.compile(match_estimates, fullgraph=True, backend="eager")
    assert torch.equal(compiled(costs), match_estimates(costs))
