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
"""The two protocols of evaluation: how mixtures are cut into chunks, and how the sources of each chunk are ordered."""

from collections.abc import Iterable, Iterator

import torch
from transformers import FeatureExtractionMixin, PreTrainedModel

from audioslots_hf.conversation import ConversationSeparator
from audioslots_hf.pipeline_audio_separation import load_default_voice_encoder
from audioslots_hf.separator import Separator
from audioslots_hf.speakers import parse_speakers

from ..data.mixtures import Mixture
from .separators import build_separator
from .stopwatch import Stopwatch


PROTOCOLS = ("order_by_tracker", "order_by_references")
# the people of a recording, of any number, in place of the outputs of the model
PEOPLE = "people"


def separate_mixtures(
    mixtures: Iterable[Mixture],
    model: PreTrainedModel | None,
    feature_extractor: FeatureExtractionMixin,
    protocol: str = "order_by_tracker",
    stopwatch: Stopwatch | None = None,
    num_speakers: int | str | None = None,
    **post_process_kwargs,
) -> Iterator[tuple[Mixture, torch.Tensor]]:
    """
    Separate mixtures in common batches, as for [`evaluate_mixtures`].

    Yields:
        `tuple` of each mixture and its estimates, `(num_sources, num_samples)`, in any order of the sources; of people, there may be
        more or fewer than sources.

    Raises:
        `ValueError`: no such protocol.
    """
    if protocol not in (*PROTOCOLS, PEOPLE):
        raise ValueError(f"`protocol` is {protocol!r}: it must be one of {', '.join((*PROTOCOLS, PEOPLE))}.")
    kwargs = {"post_process_kwargs": post_process_kwargs}
    if protocol == "order_by_references":
        kwargs |= {"chunk_hop_length": feature_extractor.chunk_length, "order_by_references": True}
    separator = build_separator(model, feature_extractor, **kwargs)
    if stopwatch is not None:
        separator.separate_chunks = stopwatch.measure("model")(separator.separate_chunks)
    if protocol == PEOPLE:
        yield from find_people(mixtures, separator, num_speakers)
    else:
        yield from join_mixtures(mixtures, separator)


def find_people(
    mixtures: Iterable[Mixture], separator: Separator, num_speakers: int | str | None
) -> Iterator[tuple[Mixture, torch.Tensor]]:
    """Each mixture with the tracks of its people, `(num_people, num_samples)`."""
    encoder = load_default_voice_encoder().to(separator.device)
    for mixture in mixtures:
        wanted = len(mixture.references) if num_speakers == "true" else num_speakers
        conversation = ConversationSeparator(separator, encoder, *parse_speakers(wanted))
        yield mixture, conversation.separate(mixture.waveform[None])[0][0]


def join_mixtures(mixtures: Iterable[Mixture], separator: Separator) -> Iterator[tuple[Mixture, torch.Tensor]]:
    """Each mixture with its estimates, `(num_sources, num_samples)`."""
    chunks = (
        chunk
        for mixture in mixtures
        for chunk in separator.cut([mixture.waveform[None]], mixture.references[None], recording=mixture)
    )
    parts = []
    for part, chunk in separator.stream_chunks(chunks):
        parts.append(part[0])
        if chunk.is_last:
            yield chunk.recording, torch.cat(parts, dim=-1)
            parts = []
