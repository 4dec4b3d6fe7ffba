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
"""Scores of a separator on a list of mixtures."""

from collections.abc import Iterable, Iterator

import torch
from transformers import FeatureExtractionMixin, PreTrainedModel

from audioslots_hf.matching import UNMATCHED
from audioslots_hf.metrics import best_order, si_snr
from audioslots_hf.separator import NotFiniteError

from ..data.mixtures import Mixture
from ..settings import SettingsError
from .protocols import People, separate_mixtures
from .stopwatch import Stopwatch


Score = dict[str, float | str | None]


def score_estimates(mixture: Mixture, estimates: torch.Tensor) -> Score:
    """
    SI-SNR of the mixture, SI-SNR and SI-SNRi in dB: their means over the sources, then those of each source.

    Only sources that sound and have an estimate count. The other values are `None`: a ratio to silence measures nothing.
    `num_missed` sources have no estimate, and `num_false` estimates have no source.
    """
    sounding = mixture.references.any(dim=-1).nonzero().flatten().tolist()
    estimate_of = dict(zip(sounding, match_sources(mixture, estimates, sounding), strict=True))
    scores: dict[str, list[float | None]] = {"input_si_snr": [], "si_snr": [], "si_snri": []}
    for source, reference in enumerate(mixture.references):
        estimate = estimate_of.get(source)
        of_mixture = si_snr(mixture.waveform, reference).item() if source in estimate_of else None
        ratio = None if estimate is None else si_snr(estimates[estimate], reference).item()
        scores["input_si_snr"].append(of_mixture)
        scores["si_snr"].append(ratio)
        scores["si_snri"].append(None if ratio is None else ratio - of_mixture)
    num_matched = sum(estimate is not None for estimate in estimate_of.values())
    return {
        "mixture_id": mixture.mixture_id,
        **{key: mean_of_known(values) for key, values in scores.items()},
        "num_missed": len(sounding) - num_matched,
        "num_false": len(estimates) - num_matched,
        **{
            f"source_{number}_{key}": values[number - 1]
            for number in range(1, 1 + len(mixture.references))
            for key, values in scores.items()
        },
    }


def match_sources(mixture: Mixture, estimates: torch.Tensor, sources: list[int]) -> list[int | None]:
    """The estimate of each of these sources, in the order with the highest mean SI-SNR; `None` where estimates are too few."""
    if len(estimates) == 0 or not sources:
        return [None] * len(sources)
    order = best_order(estimates[None], mixture.references[None, sources])[0].tolist()
    return [None if estimate == UNMATCHED else estimate for estimate in order]


def mean_of_known(values: Iterable[float | None]) -> float | None:
    """The mean of the values that are known, `None` of none."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def evaluate_mixtures(
    mixtures: Iterable[Mixture],
    model: PreTrainedModel | None,
    feature_extractor: FeatureExtractionMixin,
    protocol: str = "order_by_tracker",
    stopwatch: Stopwatch | None = None,
    people: People | None = None,
    **post_process_kwargs,
) -> Iterator[Score]:
    """
    Score a model on mixtures, one result each; with `model=None` score the oracle. An autoencoder is scored on the references.

    `"order_by_tracker"` overlaps the chunks and follows the sources without references, as the pipeline does.
    `"order_by_references"` takes disjoint chunks and orders the sources of each by the references (AudioSlots, section 3).
    `"people"` gives a track for each person, as the pipeline does by default, told apart as `people` says.

    Raises:
        `SettingsError`: estimates hold NaN or infinite samples, or a mixture too little speech for the number of people.
    """
    previous = None
    try:
        for mixture, estimates in separate_mixtures(
            mixtures, model, feature_extractor, protocol, stopwatch, people, **post_process_kwargs
        ):
            yield score_estimates(mixture, estimates)
            previous = mixture.mixture_id
    except NotFiniteError as error:
        place = "the first mixture" if previous is None else f"a mixture after {previous}"
        raise SettingsError(f"Scoring stops at {place}: {error}") from error


def summarize(results: Iterable[Score]) -> dict[str, float | None]:
    """Means over the mixtures with a matched source, and the numbers of missed sources and false tracks if there are any."""
    results = list(results)
    counts = {key: sum(result[key] for result in results) for key in ("num_missed", "num_false")}
    return {
        "num_mixtures": len(results),
        **{key: mean_of_known(result[key] for result in results) for key in ("si_snr", "si_snri")},
        **(counts if any(counts.values()) else {}),
    }
