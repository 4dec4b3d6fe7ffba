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
"""The results of a model as the parts of its card: tables, the conditions where it fails, and the model index of the Hub."""

import json
import re
import statistics
from pathlib import Path

from huggingface_hub import EvalResult


RESULTS_NAME = "results.json"
CONVERSATIONS_NAME = "conversations.json"
# the name of a list without its suffix: the data set, and the split that it is of
LIST_NAME = re.compile(r"(.+?)[_-](train|dev|valid|validation|eval|test)(?:[_-].*)?")
NOT_MEASURED = "not measured"
WITH_PEOPLE = "people told apart"
WITH_OUTPUTS = "outputs of the model"
# by the options of a result: number of speakers, online, passes
KINDS = {("auto", False, 1): WITH_PEOPLE, ("outputs", False, 1): WITH_OUTPUTS}
# errors of the tracks of people, by their names in results
ERRORS = {"num_missed": "sources without a track", "num_false": "tracks without a source"}
# in the name of a list of conversations: in a room, and of validation speakers or not of the model as it is
ROOM = ", room "
OTHERS = "-valid,|, panned by |, truth: "
ROOMS = re.compile(rf"^(?!.*({OTHERS})).*{ROOM}")
CONVERSATIONS = {
    title: re.compile(rf"^(?!.*({OTHERS}|{ROOM})).*\b{voices}\b")
    for title, voices in (
        ("one voice", "1 voice"),
        ("conversation of two", "2 voices"),
        ("conversation of three", "3 voices"),
    )
}
# conditions in the names of lists, in words
FACETS = {
    "{} voices": re.compile(r"\b(\d+) voices?\b"),
    "overlaps of {} %": re.compile(r"\boverlap (\d+) %"),
    "reverberation times of {} s": re.compile(rf"{ROOM}([\d.]+) s"),
}
PROTOCOLS = {
    "order_by_tracker": "no reference",
    "order_by_references": "disjoint chunks, ordered by the references",
}
PEOPLE_ROW = "model_people"
# a test set of the condition has one of the words in its name or its mode
CONDITIONS = {
    "noise": ("mix_both", "mix_single", "noise"),
    "rooms": ("room", "reverb"),
    "telephone": ("prompts", "telephone"),
}


def load_results(folder: Path) -> list[dict]:
    """
    The evaluations in the results file of a model: one, as `training.run_evaluation` writes it, or a list.

    Args:
        folder (`Path`):
            Folder of the model. Without a results file there are no evaluations.

    Raises:
        `ValueError`: the file has another content.
    """
    path = folder / RESULTS_NAME
    evaluations = _read_list(path)
    try:
        for evaluation in evaluations:
            _name_test_set(evaluation, {})
            _format_scores(evaluation)
            format_people(evaluation)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} is not a results file of training.run_evaluation: {error!r}") from error
    return evaluations


def load_conversations(folder: Path) -> dict[str, dict[str, dict]]:
    """
    The lists of `training.benchmark conversations`, from one of its results or several: those of the command by default, and
    those with `--num-speakers outputs`.

    Args:
        folder (`Path`):
            Folder of the model. Without such a file there are no lists.

    Returns:
        The scores by the option, and by the name of the list.

    Raises:
        `ValueError`: the file has another content, or the results of several models.
    """
    path = folder / CONVERSATIONS_NAME
    results = _read_list(path)
    conversations: dict[str, dict[str, dict]] = {}
    try:
        for result in results:
            kind = KINDS.get((result["num_speakers"], result["online"], result["passes"]))
            if kind is not None:
                conversations.setdefault(kind, {}).update(result["lists"])
        for lists in conversations.values():
            _average(list(lists.values()))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} is not a result of training.benchmark conversations: {error!r}") from error
    if len(models := sorted({str(result.get("model")) for result in results})) > 1:
        raise ValueError(f"{path} holds results of several models, {', '.join(models)}: keep those of one.")
    # by default people are told apart
    return {kind: conversations[kind] for kind in (WITH_PEOPLE, WITH_OUTPUTS) if conversations.get(kind)}


def check_weights(folder: Path, sha256: str) -> None:
    """
    Check that the results in the folder of a model are of its weights, with this sha256.

    Raises:
        `ValueError`: a file has another content, or holds the scores of other weights.
    """
    # also its other content
    load_conversations(folder)
    for name, results in (
        (RESULTS_NAME, load_results(folder)),
        (CONVERSATIONS_NAME, _read_list(folder / CONVERSATIONS_NAME)),
    ):
        for result in results:
            measured = (result.get("weights") or {}).get("sha256", "unknown")
            if measured != sha256:
                raise ValueError(
                    f"{name} holds scores of other weights (sha256 {measured[:16]}, the model has {sha256[:16]}): evaluate the "
                    "model again, or remove the file."
                )


def _read_list(path: Path) -> list[dict]:
    """The results in a file, one or a list; none without the file."""
    if not path.exists():
        return []
    content = _read_json(path)
    return content if isinstance(content, list) else [content]


def compact(evaluation: dict) -> dict:
    """An evaluation without the scores of single mixtures."""
    rows = {
        name: {key: value for key, value in row.items() if key != "scores"} for name, row in evaluation["rows"].items()
    }
    return {key: value for key, value in evaluation.items() if key not in ("voices", "folder")} | {"rows": rows}


def format_table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"|{'|'.join(f' {cell} ' if cell else ' ' for cell in cells)}|\n" for cells in lines)


def format_evaluations(evaluations: list[dict], titles: dict[str, str]) -> str:
    """The scores of a model as a table, a row for each test set, with the standard error over its mixtures; titles by file name."""
    with_oracle = any("oracle_order_by_tracker" in evaluation["rows"] for evaluation in evaluations)
    with_people = any(PEOPLE_ROW in evaluation["rows"] for evaluation in evaluations)
    header = ["test set", "mixtures", *PROTOCOLS.values()]
    header += [*([WITH_PEOPLE] if with_people else []), *(["oracle"] if with_oracle else [])]
    rows = []
    for evaluation in evaluations:
        num_mixtures = next(iter(evaluation["rows"].values()))["num_mixtures"]
        cells = [_name_test_set(evaluation, titles), str(num_mixtures), *_format_scores(evaluation)]
        if with_people:
            cells.append(format_people(evaluation))
        if with_oracle:
            oracle = evaluation["rows"].get("oracle_order_by_tracker")
            cells.append("–" if oracle is None else f"{oracle['si_snri']:.2f}")
        rows.append(cells)
    return format_table(header, rows)


def format_people(evaluation: dict, with_spread: bool = True) -> str:
    """The SI-SNRi of the sources that have a track, where there is one for each person, and the numbers of errors; "–" if not scored."""
    row = evaluation["rows"].get(PEOPLE_ROW)
    if row is None:
        return "–"
    errors = [f"{title}: {row[key]}" for key, title in ERRORS.items() if row.get(key)]
    score = "no source has a track" if row["si_snri"] is None else _format_mean(row, with_spread)
    return "; ".join([score, *errors])


def format_conditions(
    evaluations: list[dict], conversations: dict[str, dict[str, dict]], titles: dict[str, str]
) -> str:
    """A table of the conditions where models of this kind fail, and the scores there, or that they have not been measured."""
    rows = []
    for title, pattern in CONVERSATIONS.items():
        found = describe_conversations(conversations, pattern)
        rows.append([title, "; ".join(found) or NOT_MEASURED])
    for condition, words in CONDITIONS.items():
        found = describe_conversations(conversations, ROOMS) if condition == "rooms" else []
        for evaluation in evaluations:
            if any(word in f"{evaluation['metadata']}, {evaluation['mode']}".lower() for word in words):
                found.append(f"{_name_test_set(evaluation, titles)}: {_mean(evaluation):.1f} dB SI-SNRi")
        rows.append([condition, "; ".join(found) or NOT_MEASURED])
    return format_table(["condition", "measured"], rows)


def describe_conversations(conversations: dict[str, dict[str, dict]], pattern: re.Pattern) -> list[str]:
    """
    The mean scores of the lists of conversations with a name, over the same lists for all options.

    Args:
        conversations (`dict`):
            Of [`load_conversations`].
        pattern (`re.Pattern`):
            Found in the names of the lists.

    Returns:
        A phrase for each option, then one for the conditions in the names of the lists. Nothing if there are no lists.
    """
    common = set.intersection(*map(set, conversations.values())) if conversations else set()
    names = sorted(name for name in common if pattern.search(name))
    if not names:
        return []
    means = [f"{kind}: {_average([lists[name] for name in names])}" for kind, lists in conversations.items()]
    return [*means, *_name_conditions(names)]


def list_eval_results(evaluations: list[dict], titles: dict[str, str]) -> list[EvalResult]:
    """The scores without references, for the model index of the Hub; titles of the lists by file name."""
    return [
        EvalResult(
            task_type="audio-to-audio",
            task_name="Source separation",
            # a list of one's own, mixed as another data set was, is not that data set
            dataset_type=re.sub(r"\W+", "_", titles.get(evaluation["metadata"], dataset)).strip("_"),
            dataset_name=titles.get(evaluation["metadata"], dataset),
            # results of one data set, configuration and split would be merged
            dataset_config=evaluation["mode"],
            dataset_split=split,
            metric_type="si_snri",
            metric_name="SI-SNRi in dB, order of the tracks without references",
            metric_value=round(_mean(evaluation), 2),
        )
        for evaluation in evaluations
        for dataset, split in [_split_name(evaluation["metadata"])]
    ]


def _split_name(metadata: str) -> tuple[str, str | None]:
    """The data set and the split of a list: `libri2mix` and `test` of `libri2mix_test.csv`."""
    stem = Path(metadata).stem
    match = LIST_NAME.fullmatch(stem)
    return (match[1], match[2]) if match else (stem, None)


def _read_json(path: Path) -> dict | list:
    """The content of a JSON file, or a `ValueError` that names it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error


def _mean(evaluation: dict) -> float:
    """The mean SI-SNRi without references, in dB."""
    return float(evaluation["rows"]["model_order_by_tracker"]["si_snri"])


def _name_test_set(evaluation: dict, titles: dict[str, str]) -> str:
    """The list of an evaluation, by its title if it has one, and the mode."""
    metadata, mode = evaluation["metadata"], evaluation["mode"]
    return f"{titles[metadata]} ({mode})" if metadata in titles else f"`{metadata}`, {mode}"


def _format_scores(evaluation: dict) -> list[str]:
    """The SI-SNRi of an evaluation under both protocols."""
    return [_format_mean(evaluation["rows"][f"model_{protocol}"]) for protocol in PROTOCOLS]


def _format_mean(row: dict, with_spread: bool = True) -> str:
    """The mean SI-SNRi of a row, with its standard error unless it has a single mixture."""
    spread = f" ± {row['standard_error']:.2f}" if with_spread and "standard_error" in row else ""
    return f"{row['si_snri']:.2f}{spread}"


def _name_conditions(names: list[str]) -> list[str]:
    """The overlaps and rooms in the names of lists, and their voices where these differ, in words; none if the names tell none."""
    found = {
        words: sorted({value for name in names for value in pattern.findall(name)})
        for words, pattern in FACETS.items()
    }
    parts = [
        words.format(" and ".join(values))
        for words, values in found.items()
        # the title of a condition tells a single number of voices
        if len(values) > ("voices" in words)
    ]
    return [f"means of lists with {', '.join(parts)}"] if parts else []


def _average(lists: list[dict]) -> str:
    """The share of a voice on its own track and the improvement in SI-SDR, as means of lists of conversations."""
    if not lists:
        return NOT_MEASURED
    # a list has no such share if no voice is ever alone, and no improvement if there is one voice
    shares, gains = (
        [scores[name] for scores in lists if scores[name] is not None] for name in ("own_track", "si_sdri")
    )
    words = [f"{100 * statistics.fmean(shares):.0f} % of the speech on its own track"] if shares else []
    words += [f"{statistics.fmean(gains):.1f} dB SI-SDRi"] if gains else []
    return ", ".join(words) or NOT_MEASURED


__all__ = [
    "CONDITIONS",
    "CONVERSATIONS",
    "CONVERSATIONS_NAME",
    "ERRORS",
    "FACETS",
    "LIST_NAME",
    "NOT_MEASURED",
    "OTHERS",
    "PEOPLE_ROW",
    "PROTOCOLS",
    "RESULTS_NAME",
    "ROOM",
    "ROOMS",
    "WITH_OUTPUTS",
    "WITH_PEOPLE",
    "check_weights",
    "compact",
    "describe_conversations",
    "format_conditions",
    "format_evaluations",
    "format_people",
    "format_table",
    "list_eval_results",
    "load_conversations",
    "load_results",
]
