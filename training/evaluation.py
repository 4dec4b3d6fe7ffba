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
from itertools import tee

import torch
from transformers import BatchFeature, FeatureExtractionMixin, PreTrainedModel

from audioslots_hf.chunking import (
    SeparateChunks,
    SeparatedChunks,
    chunk_separator,
    default_batch_size,
    default_hop_length,
    iter_chunks,
    separate_recordings,
)
from audioslots_hf.metrics import si_snr_improvement
from audioslots_hf.modeling_outputs import AudioSeparationOutput
from audioslots_hf.waveforms import root_mean_square

from .data.mixtures import Mixture
from .stopwatch import Stopwatch


PROTOCOLS = ("practical", "paper")


def oracle_separator(
    references: Iterable[torch.Tensor],
    feature_extractor: FeatureExtractionMixin,
    hop_length: int,
    **post_process_kwargs,
) -> SeparateChunks:
    """
    A separator that knows the true magnitudes: what a perfect model would reach with these masks and this framing.

    Args:
        references (iterable of `torch.Tensor` of shape `(num_sources, num_samples)`):
            True sources of each recording it will be given, in their order.
    """
    chunks = cut_references(references, feature_extractor.chunk_length, hop_length)

    def separate_chunks(mixtures: list[torch.Tensor]) -> SeparatedChunks:
        labels = [next(chunks) for _ in mixtures]
        features: BatchFeature = feature_extractor(
            mixtures, sampling_rate=feature_extractor.sampling_rate, labels=labels
        )
        outputs = AudioSeparationOutput(estimates=features["labels"])
        estimates = feature_extractor.post_process_audio_separation(outputs, features, **post_process_kwargs)
        return SeparatedChunks(estimates, estimates[..., :0])

    return separate_chunks


def cut_references(references: Iterable[torch.Tensor], chunk_length: int, hop_length: int) -> Iterator[torch.Tensor]:
    """The chunks of the true sources of one recording after the other."""
    for sources in references:
        for chunk, _ in iter_chunks([sources], chunk_length, hop_length):
            yield chunk


def autoencoder_separator(
    references: Iterable[torch.Tensor],
    model: PreTrainedModel,
    feature_extractor: FeatureExtractionMixin,
    hop_length: int,
    **post_process_kwargs,
) -> SeparateChunks:
    """
    The separator of the paper's autoencoder row: every true source through the bottleneck alone, then masks.

    Like [`oracle_separator`], with what the one-slot model makes of the true magnitudes in their place: it tells what the
    bottleneck alone costs.
    """
    chunks = cut_references(references, feature_extractor.chunk_length, hop_length)

    @torch.inference_mode()
    def separate_chunks(mixtures: list[torch.Tensor]) -> SeparatedChunks:
        labels = [next(chunks) for _ in mixtures]
        rows = [reference for sources in labels for reference in sources]
        num_sources = len(labels[0])
        sampling_rate = feature_extractor.sampling_rate
        features = feature_extractor(rows, sampling_rate=sampling_rate).to(model.device)
        estimates = model(**features).estimates.cpu().unflatten(0, (-1, num_sources)).squeeze(2)
        # the network saw each source at unit level
        waveforms = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        levels = root_mean_square(waveforms, torch.tensor([len(row) for row in rows]))
        # what it makes of silence has no level: in a mixture as long as its longest voice, it would drown the other
        levels = (levels * waveforms.any(dim=-1)).unflatten(0, (-1, num_sources))
        estimates = feature_extractor.restore_levels(estimates, levels)
        features = feature_extractor(mixtures, sampling_rate=sampling_rate)
        outputs = AudioSeparationOutput(estimates=estimates)
        estimates = feature_extractor.post_process_audio_separation(outputs, features, **post_process_kwargs)
        return SeparatedChunks(estimates, estimates[..., :0])

    return separate_chunks


def reference_separator(
    references: Iterable[torch.Tensor],
    model: PreTrainedModel | None,
    feature_extractor: FeatureExtractionMixin,
    hop_length: int,
    **post_process_kwargs,
) -> SeparateChunks:
    """The oracle, or the paper's autoencoder with its model."""
    if model is None:
        return oracle_separator(references, feature_extractor, hop_length, **post_process_kwargs)
    return autoencoder_separator(references, model, feature_extractor, hop_length, **post_process_kwargs)


def separate_mixtures(
    mixtures: Iterable[Mixture],
    model: PreTrainedModel | None,
    feature_extractor: FeatureExtractionMixin,
    protocol: str = "practical",
    stopwatch: Stopwatch | None = None,
    **post_process_kwargs,
) -> Iterator[tuple[Mixture, torch.Tensor]]:
    """
    Separate mixtures, whose chunks go through the model together, as [`evaluate_mixtures`] does.

    Yields:
        `tuple` of each mixture and its estimates, `(num_sources, num_samples)`, in any order of the sources.

    Raises:
        `ValueError`: no such protocol.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"`protocol` is {protocol!r}: it must be one of {', '.join(PROTOCOLS)}.")
    chunk_length, sampling_rate = feature_extractor.chunk_length, feature_extractor.sampling_rate
    hop_length = default_hop_length(chunk_length, sampling_rate) if protocol == "practical" else chunk_length
    device = torch.device("cpu") if model is None else model.device
    batch_size = default_batch_size(chunk_length, sampling_rate, device)
    if model is not None and not model.config.is_autoencoder:
        separate_chunks = chunk_separator(model, feature_extractor, **post_process_kwargs)
    else:
        mixtures, upcoming = tee(mixtures)
        separate_chunks = reference_separator(
            (mixture.references for mixture in upcoming), model, feature_extractor, hop_length, **post_process_kwargs
        )
    if stopwatch is not None:
        separate_chunks = stopwatch.measure("model")(separate_chunks)
    yield from join_estimates(mixtures, separate_chunks, chunk_length, hop_length, protocol, batch_size)


def join_estimates(
    mixtures: Iterable[Mixture],
    separate_chunks: SeparateChunks,
    chunk_length: int,
    hop_length: int,
    protocol: str,
    batch_size: int,
) -> Iterator[tuple[Mixture, torch.Tensor]]:
    """Each mixture with its estimates; under the paper's protocol the references order the sources of every chunk."""
    mixtures, unfinished = tee(mixtures)
    recordings = (
        ([mixture.waveform[None]], mixture.references[None] if protocol == "paper" else None) for mixture in mixtures
    )
    parts = []
    for part, is_last in separate_recordings(recordings, separate_chunks, chunk_length, hop_length, batch_size):
        parts.append(part[0])
        if is_last:
            yield next(unfinished), torch.cat(parts, dim=-1)
            parts = []


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
    protocol: str = "practical",
    stopwatch: Stopwatch | None = None,
    **post_process_kwargs,
) -> Iterator[dict[str, float | str]]:
    """
    Score a model on mixtures, one result each; with `model=None` score the oracle. An autoencoder is scored on the references.

    `"practical"` overlaps the chunks and follows the sources without references, as the pipeline does.
    `"paper"` takes disjoint chunks and orders the sources of each by the references (AudioSlots, section 3).
    """
    for mixture, estimates in separate_mixtures(
        mixtures, model, feature_extractor, protocol, stopwatch, **post_process_kwargs
    ):
        yield score_estimates(mixture, estimates)


def summarize(results: Iterable[dict[str, float | str]]) -> dict[str, float]:
    """Means over the mixtures."""
    results = list(results)
    return {
        "num_mixtures": len(results),
        **{key: sum(result[key] for result in results) / len(results) for key in ("si_snr", "si_snri")},
    }
