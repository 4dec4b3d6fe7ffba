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
"""Model cards: made of a template, the facts that the owner of a model states, and its results."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData, hf_hub_url
from transformers import PreTrainedModel

from .card_results import format_conditions, format_evaluations, list_eval_results, load_conversations, load_results
from .families import FAMILIES
from .saving import TAGS


FACTS_NAME = "card.yaml"
TEMPLATE = Path(__file__).parent / "card_template.md"
SAMPLES_NAME = "samples"
MIXTURE_NAME = "mixture.flac"
EXAMPLE = """\
license: apache-2.0
data:
  - name: my recordings
    license: CC BY 4.0
"""
# of the facts; others are text
KINDS = {"data": list, "limits": list, "language": list, "datasets": list, "tags": list, "test_sets": dict}
KIND_NAMES = {list: "a list", dict: "names and values", str: "text"}
USES = "separate a recording in which {num_sources} people speak at once into one track for each of them."
NOT_FOR = (
    "a single voice, which is split; more voices than tracks; music; evidence of who said a sentence, because parts of "
    "one voice may stay in the track of another."
)


@dataclass
class CardFacts:
    """
    What only the owner of a model knows, from the file `card.yaml` beside the weights.

    Args:
        license (`str`):
            Licence of the weights, by its identifier on the Hub.
        data (`list` of `dict`):
            The training data: `name` and `license`, and optionally `note`.
        title, uses, not_for, architecture, evaluation, training, compute, sample, attribution (`str`, *optional*):
            Markdown for the parts of the card with these subjects.
        revision (`str`, *optional*):
            The revision of the weights under this name, such as `2, the run my-run`; a name tells family and size only.
        limits (`list` of `str`, *optional*):
            Known limits, besides the measured conditions.
        test_sets (`dict`, *optional*):
            A title for each list of mixtures in the results, by the name of its file.
        language, datasets, base_model, tags (*optional*):
            Metadata of the Hub.
    """

    license: str
    data: list[dict[str, str]]
    title: str = ""
    revision: str = ""
    uses: str = ""
    not_for: str = NOT_FOR
    architecture: str = ""
    evaluation: str = ""
    limits: list[str] = field(default_factory=list)
    test_sets: dict[str, str] = field(default_factory=dict)
    training: str = ""
    compute: str = "not stated."
    sample: str = ""
    attribution: str = ""
    language: str | list[str] | None = None
    datasets: list[str] | None = None
    base_model: str | None = None
    tags: list[str] = field(default_factory=list)


def load_facts(folder: Path) -> CardFacts:
    """
    Read the facts of a model.

    Raises:
        `ValueError`: the file is missing, is no YAML, or has a wrong value; the message has an example.
    """
    import yaml

    path = folder / FACTS_NAME
    if not path.is_file():
        raise ValueError(
            f"{path} is missing, which states the licence and the data of the model. An example:\n{EXAMPLE}"
        )
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    _check_facts(path, values)
    return CardFacts(**{name: value.strip() if isinstance(value, str) else value for name, value in values.items()})


def _check_facts(path: Path, values: Any) -> None:
    """Raise a `ValueError` if facts are missing, unknown or of a wrong type."""
    if not isinstance(values, dict):
        raise ValueError(f"{path} must hold names and values. An example:\n{EXAMPLE}")
    fields = {entry.name: entry for entry in dataclasses.fields(CardFacts)}
    if unknown := [name for name in values if name not in fields]:
        raise ValueError(f"{path} has {unknown[0]!r}, which is none of {', '.join(fields)}.")
    if missing := [name for name in ("license", "data") if not values.get(name)]:
        raise ValueError(f"{path} lacks {missing[0]!r}. An example:\n{EXAMPLE}")
    for name, value in values.items():
        kind = KINDS.get(name, str)
        if not isinstance(value, kind) and not (name == "language" and isinstance(value, str)):
            raise ValueError(f"{name!r} in {path} is {value!r}: it must be {KIND_NAMES[kind]}.")
    for entry in values["data"]:
        if not isinstance(entry, dict) or not {"name", "license"} <= set(entry) <= {"name", "license", "note"}:
            raise ValueError(
                f"'data' in {path} holds {entry!r}: it needs `name` and `license`, and may have a `note`."
            )


def make_card(
    folder: Path, name: str, model: PreTrainedModel, sha256: str, repo_id: str | None = None, sample: str = ""
) -> ModelCard:
    """
    The card of a model, from the facts and the results in its folder.

    Args:
        folder (`Path`):
            Folder with `card.yaml` and, optionally, `results.json` and `conversations.json`.
        name (`str`):
            Name of the model.
        model ([`~transformers.PreTrainedModel`]):
            The model; only its configuration and its number of parameters are read.
        sha256 (`str`):
            Checksum of the weights.
        repo_id (`str`, *optional*):
            Repository in which the card will stand beside the samples. Without it, the card shows none.
        sample (`str`, *optional*):
            Markdown about the sample, if the facts have none.

    Raises:
        `ValueError`: facts or results are missing or wrong.
    """
    facts, evaluations, conversations = load_facts(folder), load_results(folder), load_conversations(folder)
    config = model.config
    family = FAMILIES[config.model_type]
    tags = [*TAGS, config.model_type.replace("_", "-"), *facts.tags]
    data = ModelCardData(
        license=facts.license,
        library_name="transformers",
        pipeline_tag="audio-to-audio",
        language=facts.language,
        datasets=facts.datasets,
        base_model=facts.base_model,
        tags=list(dict.fromkeys(tags)),
        metrics=["si_snr"] if evaluations else None,
        model_name=name,
        eval_results=list_eval_results(evaluations, facts.test_sets) or None,
    )
    return ModelCard.from_template(
        data,
        template_path=str(TEMPLATE),
        name=name,
        repo_id=repo_id,
        facts=facts,
        sample=facts.sample or sample,
        title=facts.title or f"a {family.title} that separates {config.num_sources} voices",
        uses=facts.uses or USES.format(num_sources=config.num_sources),
        family=family.title,
        num_parameters=f"{model.num_parameters():,}",
        sampling_rate=f"{config.sampling_rate / 1000:g} kHz",
        sha256=sha256,
        results=format_evaluations(evaluations, facts.test_sets) if evaluations else "",
        conditions=format_conditions(evaluations, conversations, facts.test_sets).strip(),
        snippet=format_snippet(repo_id) if repo_id else "",
        players=_list_players(repo_id, config.num_sources) if repo_id else [],
        picture=_find_url(repo_id, "mixture_separation.png") if repo_id else "",
    )


def format_snippet(repo_id: str) -> str:
    """Python that separates the sample of a repository where only transformers is installed; `tracks` holds its result."""
    return f'''\
from huggingface_hub import hf_hub_download
from transformers import pipeline

separator = pipeline("audio-to-audio", model="{repo_id}", trust_remote_code=True)
mixture = hf_hub_download("{repo_id}", "{SAMPLES_NAME}/{MIXTURE_NAME}")  # or your own recording
tracks = separator(mixture)
for track in tracks:
    print(track["label"], track["audio"].shape, track["sampling_rate"])
'''


def _list_players(repo_id: str, num_sources: int) -> list[tuple[str, str]]:
    """The titles and the addresses of the sample and its tracks."""
    tracks = [(f"source {index}", f"mixture_source_{index}.flac") for index in range(num_sources)]
    return [(title, _find_url(repo_id, file)) for title, file in [("mixture", MIXTURE_NAME), *tracks]]


def _find_url(repo_id: str, file: str) -> str:
    """The address of a file among the samples of a repository."""
    return hf_hub_url(repo_id, f"{SAMPLES_NAME}/{file}")


__all__ = [
    "FACTS_NAME",
    "MIXTURE_NAME",
    "SAMPLES_NAME",
    "CardFacts",
    "format_snippet",
    "load_facts",
    "make_card",
]
