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
"""The evaluated model or oracle, and its list of mixtures."""

import argparse
import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import FeatureExtractionMixin, PreTrainedModel
from transformers.utils import cached_file

from audioslots_hf import load_separator
from audioslots_hf.families import DEFAULT_FAMILY
from audioslots_hf.pipeline_audio_separation import AudioSeparationPipeline
from audioslots_hf.publishing import hash_weights
from audioslots_hf.resources import count_macs
from audioslots_hf.shipped import find_checkpoint
from audioslots_hf.speakers import OUTPUTS

from ..arguments import MixtureArguments
from ..data.mixtures import MixtureList, load_mixtures
from ..settings import SettingsError
from .protocols import People
from .transmission import Transmission


@dataclass
class Subject:
    """
    A model, or `None` for the oracle alone, its evaluation mixtures, and a description of both.

    `people` says how people are told apart; `None` where the outputs of the model alone are scored.
    """

    model: PreTrainedModel | None
    feature_extractor: FeatureExtractionMixin
    mixtures: MixtureList
    transmission: Transmission
    people: People | None
    description: dict


def prepare(options: argparse.Namespace, device: str | torch.device) -> Subject:
    """
    Load the model and the list of the options.

    Raises:
        `ValueError`, `OSError`, `RuntimeError`: the model, the list or the transmission cannot be used.
    """
    transmission = Transmission(options.shared_spectrum, options.high_pass, options.codec)
    pipeline = None if options.oracle is not None else load_separator(options.model, device=device)
    model = None if pipeline is None else pipeline.model
    extractor = build_oracle_extractor(options.oracle) if pipeline is None else pipeline.feature_extractor
    transmission.check(extractor.sampling_rate)
    hears_references = model is None or model.config.is_autoencoder
    if hears_references and options.mix_type == "mix_single":
        raise ValueError(
            f"--mix-type mix_single has one source and {options.model} returns one: its estimate is the mixture itself. Use "
            "another type."
        )
    is_asked_for_people = options.num_speakers not in (None, OUTPUTS) or options.max_speakers is not None
    if hears_references and is_asked_for_people:
        raise ValueError(
            f"{'--oracle' if model is None else options.model} hears the references, so there are no people to find: leave out "
            "--num-speakers and --max-speakers."
        )
    listed = list_arguments(options)
    num_sources = None if hears_references else model.config.num_sources
    mixtures = load_mixtures(listed, extractor.sampling_rate, num_sources, options.num_mixtures)
    description = {
        **describe_model(options, model, extractor),
        **describe_list(listed, transmission),
        "sampling_rate": extractor.sampling_rate,
        "chunk_length": extractor.chunk_length,
        **extractor.describe_framing(),
    }
    people = None if hears_references else choose_people(pipeline, options.num_speakers, options.max_speakers)
    return Subject(model, extractor, mixtures, transmission, people, description)


@contextmanager
def naming_model() -> Iterator[None]:
    """Turn the `ValueError` of a model that cannot be loaded into a `SettingsError` about `--model`."""
    try:
        yield
    except ValueError as error:
        raise SettingsError(f"--model: {error}") from error


def build_oracle_extractor(duration_s: float) -> FeatureExtractionMixin:
    """The paper's feature extractor, for chunks of a length in seconds."""
    config_class = DEFAULT_FAMILY.config_class
    chunk_length = round(duration_s * config_class().sampling_rate)
    try:
        config = config_class(chunk_length=chunk_length)
    except StrictDataclassError as error:
        raise ValueError(f"--oracle is {duration_s:g} s, {chunk_length} samples: {error}") from error
    return DEFAULT_FAMILY.feature_extractor_class.from_config(config)


def choose_people(
    pipeline: AudioSeparationPipeline, num_speakers: int | str | None, max_speakers: int | None
) -> People | None:
    """How people are told apart, as by the pipeline with these options; `None` where it gives the outputs of the model."""
    if not pipeline.separates_people(num_speakers, max_speakers):
        return None
    return People(pipeline.voice_encoder, num_speakers, max_speakers)


def describe_model(
    options: argparse.Namespace, model: PreTrainedModel | None, extractor: FeatureExtractionMixin
) -> dict:
    """A description of the model: names, weights, and operations of one chunk per second of audio."""
    if model is None:
        return {"model": "oracle", "model_type": "oracle", "weights": None, "macs_per_s": None}
    return {
        "model": name_run(options.model),
        "model_type": model.config.model_type,
        "num_sources": model.config.num_sources,
        "is_autoencoder": model.config.is_autoencoder,
        "weights": {
            "sha256": hash_model(options.model),
            "num_parameters": model.num_parameters(),
        },
        "macs_per_s": count_macs(model, extractor) * extractor.sampling_rate / extractor.chunk_length,
    }


def hash_model(model: str | None) -> str:
    """The sha256 of the weights of a loaded model, by its name, folder or repository; `None` stands for the default."""
    return hash_weights(Path(cached_file(find_checkpoint(model), "config.json")).parent)


def name_run(model: str) -> str:
    """The name of a model in results: its own, or that of the run for a folder best, last or checkpoint."""
    path = Path(model)
    if path.is_dir() and re.fullmatch(r"best|last|checkpoint-\d+", path.name):
        return path.resolve().parent.name
    return path.name


def list_arguments(options: argparse.Namespace) -> MixtureArguments:
    """The list of mixtures of the options."""
    if options.tree is not None:
        return MixtureArguments(tree=str(options.tree), mix_type=options.mix_type)
    return MixtureArguments(
        metadata=str(options.metadata),
        root=str(options.root),
        noise_root=None if options.noise_root is None else str(options.noise_root),
        mode=options.mode,
        mix_type=options.mix_type,
    )


def describe_list(listed: MixtureArguments, transmission: Transmission) -> dict[str, str]:
    """A description of the mixtures: the name of the list, its mode and its transmission."""
    kind = ", ".join(["clean" if listed.mix_type == "mix_clean" else listed.mix_type, *transmission.describe()])
    if listed.tree is not None:
        split = Path(listed.tree).resolve()
        # Libri2Mix/wav16k/min/test
        return {"metadata": "/".join(split.parts[-4:]), "mode": f"{split.parent.name}, {kind}"}
    digest = hashlib.sha256(Path(listed.metadata).read_bytes()).hexdigest()
    return {"metadata": Path(listed.metadata).name, "metadata_sha256": digest, "mode": f"{listed.mode}, {kind}"}
