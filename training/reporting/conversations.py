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
"""The scores of simulated conversations: the file that keeps those of several runs, and its tables."""

import json
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from audioslots_hf.card_results import format_table
from audioslots_hf.files import is_locked, write_text

from ..settings import SettingsError
from .results import format_json


# title and format of each score, in the order of the columns
SCORES = {
    "num_recordings": ("recordings", "d"),
    "si_sdri": ("si_sdri, dB", ".1f"),
    "si_sdr": ("si_sdr, dB", ".1f"),
    "own_track": ("own_track", ".2f"),
    "swaps_per_minute": ("swaps_per_minute", ".2f"),
    "silence_db": ("silence_db", ".1f"),
    "count_accuracy": ("count_accuracy", ".2f"),
    "missed": ("missed", ".2f"),
    "false": ("false", ".2f"),
    "der": ("der", ".3f"),
    "real_time_factor": ("real_time_factor", ".2f"),
}
# end of the name of speech on whose speakers thresholds may be chosen
VALIDATION = "-valid"

# the part of the name of a list that tells its panning
PANNING = re.compile(r", panned by \S+ dB")
# time between two looks at a locked folder
WAIT_S = 0.05

# one list, or the mean of several: the score by its name, `None` where it is not defined
Summary = dict[str, float | None]


def read_conversations(path: Path) -> list[dict[str, Any]]:
    """
    The results in a file of `training.benchmark conversations --output`, each with its options and its lists.

    Raises:
        `SettingsError`: the file has another content.
    """
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(results, list):
            raise ValueError("no list of results")
        for result in results:
            _check_result(result)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SettingsError(
            f"{path} is not a file of training.benchmark conversations --output ({error!r}): name another one."
        ) from error
    return results


def _check_result(result: dict[str, Any]) -> None:
    """Raise a `KeyError`, `TypeError`, `AttributeError` or `ValueError` unless this is a result."""
    options_of(result)
    if not all(result[name] for name in ("model", "weights", "lists")):
        raise ValueError("a result without a model, weights or lists")
    for name, scores in result["lists"].items():
        if not isinstance(scores["num_recordings"], int):
            raise ValueError(f"the list {name!r} without a number of recordings")


def add_conversations(path: Path, result: dict[str, Any]) -> None:
    """
    Add the lists of a result to a file, which need not exist.

    They replace lists of the same name, model and options. Lists of other weights under the name of the model are dropped. Several
    processes may add to a file at once.

    Args:
        path (`Path`):
            The file.
        result (`dict`):
            The model and its weights, the options, and as `lists` the scores by the name of the list.
    """
    with _locking(path.parent):
        known = read_conversations(path) if path.exists() else []
        results = [
            other for other in known if other["model"] != result["model"] or other["weights"] == result["weights"]
        ]
        if len(results) < len(known):
            print(f"{path}: the lists of other weights of {result['model']} are dropped.", file=sys.stderr)
        for other in results:
            if other | {"lists": None} == result | {"lists": None}:
                other["lists"] |= result["lists"]
                break
        else:
            results.append(result)
        write_text(path, format_json(results))


@contextmanager
def _locking(folder: Path) -> Iterator[None]:
    """Wait until no other process adds lists to a file of this folder, and let none until the block ends; on POSIX only."""
    if os.name != "posix":
        # Windows cannot open folders
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        while is_locked(descriptor):
            time.sleep(WAIT_S)
        yield
    finally:
        os.close(descriptor)


def options_of(result: dict[str, Any]) -> str:
    """The options of a result as they stand on the command line."""
    words = [f"--num-speakers {result['num_speakers']}"]
    words += ["--online"] if result["online"] else []
    words += [f"--passes {result['passes']}"] if result["passes"] != 1 else []
    words += [f"--channels {result['channels']}"] if result["channels"] != "each" else []
    return " ".join(words)


def format_tables(results: list[dict[str, Any]]) -> dict[str, str]:
    """A Markdown table for each set of options, by [`options_of`]; it names the models where there are several."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        groups.setdefault(options_of(result), []).append(result)
    has_models = len({result["model"] for result in results}) > 1
    return {options: format_group(group, has_models) for options, group in groups.items()}


def format_group(results: list[dict[str, Any]], has_models: bool) -> str:
    """The table of results with the same options: each list with all of its models, then the means of several lists."""
    rows: dict[str, list[tuple[str, Summary]]] = {}
    for part in (lambda lists: lists, average_lists):
        for result in results:
            for name, scores in part(result["lists"]).items():
                rows.setdefault(name, []).append((result["model"], scores))
    known = {score for lines in rows.values() for _, scores in lines for score in scores}
    names = [name for name in SCORES if name in known]
    lines = [
        [title, *([f"`{model}`"] if has_models else []), *format_scores(scores, names)]
        for title, models in rows.items()
        for model, scores in models
    ]
    return format_table(["list", *(["model"] if has_models else []), *(SCORES[name][0] for name in names)], lines)


def format_scores(scores: Summary, names: list[str]) -> list[str]:
    """The cells of a row."""
    return ["-" if scores.get(name) is None else f"{scores[name]:{SCORES[name][1]}}" for name in names]


def average_lists(lists: dict[str, Summary]) -> dict[str, Summary]:
    """
    The means over the recordings of the lists that differ only in their speech and number of voices, and of those that also differ in
    their panning, where there are several.

    Validation and test speakers have means of their own. One voice alone counts in none.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for name in lists:
        speech, voices, kind = name.split(", ", 2)
        if voices != "1 voice":
            speakers = "validation" if speech.endswith(VALIDATION) else "test"
            for similar in dict.fromkeys((kind, PANNING.sub(", panned", kind))):
                groups.setdefault((speakers, similar), []).append(name)
    # of a single panning, the mean over all pannings is the same
    means = {tuple(names): group for group, names in reversed(groups.items()) if len(names) > 1}
    return {
        f"mean of {len(names)} lists of {speakers} speakers, {kind}": average([lists[name] for name in names])
        for names, (speakers, kind) in reversed(means.items())
    }


def average(lists: list[Summary]) -> Summary:
    """The mean over the recordings of several lists; a score that one of them lacks is left out."""
    num_recordings = sum(scores["num_recordings"] for scores in lists)
    means: Summary = {"num_recordings": num_recordings}
    for name in SCORES:
        values = [scores.get(name) for scores in lists]
        if name != "num_recordings" and None not in values:
            weighted = (scores["num_recordings"] * scores[name] for scores in lists)
            means[name] = sum(weighted) / num_recordings
    return means
