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
"""
The protocols of evaluation. Two give the outputs of the model, and say how mixtures are cut into chunks and how the sources of each
chunk are ordered. The third gives a track for each person.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from transformers import FeatureExtractionMixin, PreTrainedModel

from audioslots_hf.conversation import ConversationSeparator, VoiceEncoder
from audioslots_hf.separator import Separator

from ..data.mixtures import Mixture
from ..settings import SettingsError
from .separators import build_separator
from .stopwatch import Stopwatch


PROTOCOLS = ("order_by_tracker", "order_by_references")
# the people of a recording, of any number, in place of the outputs of the model
PEOPLE = "people"


@dataclass
class People:
    """How people are told apart: by a voice encoder, and by their number or its bound, if they are known."""

    encoder: VoiceEncoder
    num_speakers: int | None = None
    max_speakers: int | None = None

    def describe(self) -> dict[str, int]:
        """The numbers that are known."""
        numbers = {"num_speakers": self.num_speakers, "max_speakers": self.max_speakers}
        return {name: number for name, number in numbers.items() if number is not None}


def separate_mixtures(
    mixtures: Iterable[Mixture],
    model: PreTrainedModel | None,
    feature_extractor: FeatureExtractionMixin,
    protocol: str = "order_by_tracker",
    stopwatch: Stopwatch | None = None,
    people: People | None = None,
    **post_process_kwargs,
) -> Iterator[tuple[Mixture, torch.Tensor]]:
    """
    Separate mixtures in common batches, as for [`evaluate_mixtures`].

    Yields:
        `tuple` of each mixture and its estimates, `(num_sources, num_samples)`, in any order of the sources; of people, there may be
        more or fewer than sources.

    Raises:
        `ValueError`: no such protocol.
        `SettingsError`: a mixture holds too little speech for the number of people.
    """
    if protocol not in (*PROTOCOLS, PEOPLE):
        raise ValueError(f"`protocol` is {protocol!r}: it must be one of {', '.join((*PROTOCOLS, PEOPLE))}.")
    kwargs = {"post_process_kwargs": post_process_kwargs}
    if protocol == "order_by_references":
        kwargs |= {"chunk_hop_length": feature_extractor.chunk_length, "order_by_references": True}
    separator = build_separator(model, feature_extractor, **kwargs)
    stopwatch = stopwatch or Stopwatch()
    if protocol == PEOPLE:
        yield from find_people(mixtures, separator, people, stopwatch)
    else:
        time_model(stopwatch, separator, "separate_chunks")
        yield from join_mixtures(mixtures, separator)


def time_model(stopwatch: Stopwatch, owner: object, *methods: str) -> None:
    """Count the time of these methods of an object as that of the model."""
    for name in methods:
        setattr(owner, name, stopwatch.measure("model")(getattr(owner, name)))


def find_people(
    mixtures: Iterable[Mixture], separator: Separator, people: People, stopwatch: Stopwatch
) -> Iterator[tuple[Mixture, torch.Tensor]]:
    """Each mixture with the tracks of its people, `(num_people, num_samples)`."""
    conversation = ConversationSeparator(separator, people.encoder, people.num_speakers, people.max_speakers)
    time_model(stopwatch, conversation, "embed", "embed_windows")
    time_model(stopwatch, conversation.planner, "separate_chunks")
    time_model(stopwatch, conversation.separator, "separate_chunks")
    for mixture in mixtures:
        try:
            tracks, _ = conversation.separate(mixture.waveform[None])
        except ValueError as error:
            raise SettingsError(f"Scoring stops at {mixture.mixture_id}: {error}") from error
        yield mixture, tracks[0]


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
