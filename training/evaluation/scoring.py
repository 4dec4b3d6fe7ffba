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

from audioslots_hf.metrics import si_snr_improvement
from audioslots_hf.separator import NotFiniteError

from ..data.mixtures import Mixture
from ..settings import SettingsError
from .protocols import separate_mixtures
from .stopwatch import Stopwatch


def score_estimates(mixture: Mixture, estimates: torch.Tensor) -> dict[str, float | str]:
    """SI-SNR of the mixture, SI-SNR and SI-SNRi in dB: their means over the sources, then those of each source."""
    ratios, improvements = si_snr_improvement(estimates[None], mixture.references[None], mixture.waveform[None])
    scores = {"input_si_snr": ratios - improvements, "si_snr": ratios, "si_snri": improvements}
    return {
        "mixture_id": mixture.mixture_id,
        **{key: values.mean().item() for key, values in scores.items()},
        **{
            f"source_{number}_{key}": values[0, number - 1].item()
            for number in range(1, 1 + len(mixture.references))
            for key, values in scores.items()
        },
    }


def evaluate_mixtures(
    mixtures: Iterable[Mixture],
    model: PreTrainedModel | None,
    feature_extractor: FeatureExtractionMixin,
    protocol: str = "order_by_tracker",
    stopwatch: Stopwatch | None = None,
    **post_process_kwargs,
) -> Iterator[dict[str, float | str]]:
    """
    Score a model on mixtures, one result each; with `model=None` score the oracle. An autoencoder is scored on the references.

    `"order_by_tracker"` overlaps the chunks and follows the sources without references, as the pipeline does.
    `"order_by_references"` takes disjoint chunks and orders the sources of each by the references (AudioSlots, section 3).

    Raises:
        `SettingsError`: estimates hold NaN or infinite samples.
    """
    previous = None
    try:
        for mixture, estimates in separate_mixtures(
            mixtures, model, feature_extractor, protocol, stopwatch, **post_process_kwargs
        ):
            yield score_estimates(mixture, estimates)
            previous = mixture.mixture_id
    except NotFiniteError as error:
        place = "the first mixture" if previous is None else f"a mixture after {previous}"
        raise SettingsError(f"Scoring stops at {place}: {error}") from error


def summarize(results: Iterable[dict[str, float | str]]) -> dict[str, float]:
    """Means over the mixtures."""
    results = list(results)
    return {
        "num_mixtures": len(results),
        **{key: sum(result[key] for result in results) / len(results) for key in ("si_snr", "si_snri")},
    }
