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
"""One-to-one matching of estimates and references with the smallest total cost."""

import torch


# Up to this number, trying n! permutations is cheaper than a transfer to the CPU.
MAX_ENUMERATED_SOURCES = 5
# marks a reference without an estimate
UNMATCHED = -1


def match_estimates(costs: torch.Tensor) -> torch.Tensor:
    """
    Match estimates to references with the smallest total cost: reference j is matched with estimate `order[j]`.

    This is the convention of asteroid and torchmetrics: `estimates[:, order]` are in the order of the references, see
    [`reorder_estimates`]. The match is optimal, as by the Hungarian algorithm, for any number of estimates and references.
    The present order stays if no other costs less. No gradient flows: match on the costs, then gather from them.

    Args:
        costs (`torch.Tensor` of shape `(batch_size, num_estimates, num_references)`):
            Cost of every pair. The numbers of estimates and references may differ.

    Returns:
        int64 `torch.Tensor` of shape `(batch_size, num_references)`. With more estimates than references, some estimates
        are absent. With more references than estimates, a reference without an estimate has `UNMATCHED` (-1).
    """
    num_estimates, num_references = costs.shape[-2:]
    size = max(num_estimates, num_references)
    # pad to a square with pairs of zero cost
    padded = torch.nn.functional.pad(costs.detach(), (0, size - num_references, 0, size - num_estimates))
    orders = enumerate_orders(padded) if size <= MAX_ENUMERATED_SOURCES else solve_assignment(padded)
    orders = orders[:, :num_references]
    return orders.masked_fill(orders >= num_estimates, UNMATCHED)


def reorder_estimates(estimates: torch.Tensor, orders: torch.Tensor) -> torch.Tensor:
    """
    Put estimates into the order of the references.

    Args:
        estimates (`torch.Tensor` of shape `(batch_size, num_estimates, ...)`):
            Estimates, or other values with one entry per estimate.
        orders (`torch.Tensor` of shape `(batch_size, num_references)`):
            Estimate of each reference, from [`match_estimates`].

    Returns:
        `torch.Tensor` of shape `(batch_size, num_references, ...)`, zeros for a reference without an estimate.
    """
    index = orders.view(*orders.shape, *[1] * (estimates.ndim - 2))
    taken = estimates.gather(1, index.clamp(min=0).expand(-1, -1, *estimates.shape[2:]))
    return taken.masked_fill(index == UNMATCHED, 0)


def matched_costs(costs: torch.Tensor) -> torch.Tensor:
    """The costs of the matched pairs, `(batch_size, num_sources, num_sources)` -> `(batch_size, num_sources)`, with gradient."""
    return costs.gather(1, match_estimates(costs).unsqueeze(1)).squeeze(1)


def enumerate_orders(costs: torch.Tensor) -> torch.Tensor:
    """[`match_estimates`] for equal numbers: try all orders on the device of the costs, without synchronisation."""
    num_sources = costs.shape[-1]
    rows = torch.arange(num_sources, device=costs.device)
    # the reference of every estimate
    candidates = all_permutations(rows)
    # (batch_size, num_permutations)
    totals = costs[:, rows, candidates].sum(dim=-1)
    return candidates.argsort(dim=-1)[totals.argmin(dim=-1)]


def all_permutations(items: torch.Tensor) -> torch.Tensor:
    """(num_items,) -> (factorial of num_items, num_items), built on the device: copying a list to it would synchronise"""
    result = items[:1, None]
    for index in range(1, len(items)):
        column = items[index : index + 1].expand(len(result), 1)
        # the present order comes first, because it stays if no other order is better
        places = range(result.shape[1], -1, -1)
        result = torch.cat([torch.cat([result[:, :place], column, result[:, place:]], dim=1) for place in places])
    return result


@torch.compiler.disable
def solve_assignment(costs: torch.Tensor) -> torch.Tensor:
    """[`match_estimates`] for equal numbers by SciPy's Hungarian solver, on the CPU."""
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError as error:
        raise ImportError(
            f"Matching more than {MAX_ENUMERATED_SOURCES} sources needs SciPy: pip install scipy"
        ) from error
    # the solver rejects NaN and infinite costs; the loss reports them
    matrices = costs.float().nan_to_num().cpu().numpy()
    columns = torch.stack([torch.from_numpy(linear_sum_assignment(matrix)[1]) for matrix in matrices])
    return columns.argsort(dim=-1).to(costs.device)


__all__ = [
    "MAX_ENUMERATED_SOURCES",
    "UNMATCHED",
    "all_permutations",
    "enumerate_orders",
    "match_estimates",
    "matched_costs",
    "reorder_estimates",
    "solve_assignment",
]
