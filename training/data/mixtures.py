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
Lists of mixtures, with the same table format for all sources; audio is read on access, and only the requested span.

A list is a generated Libri2Mix tree, the metadata csv of LibriMix with its speech, or any set of the datasets library with
named columns. Metadata are mixed on the fly as by the official scripts (arXiv 2005.11262).
"""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from datasets import Audio, Dataset, DatasetDict, Features, Value, load_dataset, load_from_disk
from datasets import List as ListOf
from datasets.exceptions import DatasetsError
from tqdm.auto import tqdm

from ..arguments import MixtureArguments
from ..settings import SettingsError
from .audio import AudioError, File, Header, audio_length, read_audio, read_header
from .libri2mix import (
    ORIGINAL_RATE,
    extend_noise,
    list_tree,
    read_metadata,
    source_numbers,
    source_paths,
    source_speaker,
    speakers_of_mixture,
    tree_sources,
)


# `num_samples` counts at the rate of the table, `noise_length` at 16 kHz; without a `mixture_path` the mixture is the sum of
# the other files of its row
FEATURES = Features(
    {
        "mixture_id": Value("string"),
        # of the row in its list, for messages
        "place": Value("string"),
        "num_samples": Value("int64"),
        "mixture_path": Value("string"),
        "source_paths": ListOf(Value("string")),
        "source_gains": ListOf(Value("float64")),
        "speakers": ListOf(Value("string")),
        "sexes": ListOf(Value("string")),
        "noise_path": Value("string"),
        "noise_gain": Value("float64"),
        "noise_length": Value("int64"),
    }
)


@dataclass
class Mixture:
    """One mixture, or a span of it: float32 references (num_sources, num_samples) and, if given, the rest of its sound."""

    mixture_id: str
    references: torch.Tensor
    # (num_samples,): the mixture minus the sum of the references, for instance noise
    rest: torch.Tensor | None = None

    @property
    def waveform(self) -> torch.Tensor:
        """The mixture, (num_samples,)"""
        mixture = self.references.sum(dim=0)
        return mixture if self.rest is None else mixture + self.rest


class MixtureList(torch.utils.data.Dataset):
    """
    Mixtures to read one by one.

    Args:
        table (`datasets.Dataset`):
            With the columns of `FEATURES`.
        sampling_rate (`int`):
            Rate to read at, in hertz.
        audio (`datasets.Dataset`, *optional*):
            Rows of encoded files; the paths of the table are then its column names.
    """

    def __init__(self, table: Dataset, sampling_rate: int, audio: Dataset | None = None):
        self.table = table
        self.sampling_rate = sampling_rate
        self.audio = audio
        # plain rows, because reading one from the table takes as long as decoding half a second
        self.rows = table.to_list()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Mixture:
        return self.read(index)

    def read(self, index: int, start: int = 0, num_samples: int | None = None) -> Mixture:
        """A mixture, or its span from `start`; shorter sources are padded with zeros."""
        row = self.rows[index]
        end = row["num_samples"] if num_samples is None else min(row["num_samples"], start + num_samples)
        span = (start, end - start)
        references = [
            gain * self.read_span(index, path, *span)
            for path, gain in zip(row["source_paths"], row["source_gains"], strict=True)
        ]
        references = torch.from_numpy(np.stack(references).astype(np.float32))
        return Mixture(row["mixture_id"], references, self.read_rest(index, row, references, *span))

    def read_rest(
        self, index: int, row: dict, references: torch.Tensor, start: int, num_samples: int
    ) -> torch.Tensor | None:
        """The part of a mixture that is not in its references."""
        if row["mixture_path"] is not None:
            mixture = torch.from_numpy(self.read_span(index, row["mixture_path"], start, num_samples))
            return mixture - references.sum(dim=0)
        if row["noise_path"] is None:
            return None
        noise = extend_noise(row["noise_path"], row["noise_length"], self.sampling_rate)
        return torch.from_numpy((row["noise_gain"] * noise[start : start + num_samples]).astype(np.float32))

    def read_span(self, index: int, path: str, start: int, num_samples: int) -> np.ndarray:
        """A span of one file, float32 (num_samples,)"""
        try:
            span = read_audio(self.open(index, path), self.sampling_rate, start, num_samples)
        except AudioError as error:
            # the list may be long, and this process a worker
            place = self.rows[index]["place"]
            raise AudioError(f"{place}: {error}") from error
        return span if len(span) == num_samples else np.pad(span, (0, num_samples - len(span)))

    def open(self, index: int, path: str) -> File:
        """Open the file of a path in row `index`."""
        return path if self.audio is None else encoded_file(self.audio[index][path])


def encoded_file(value: str | dict | None) -> File | None:
    """The file in a cell of a column of paths or of `Audio(decode=False)`."""
    if isinstance(value, dict):
        return value["path"] if value["bytes"] is None else io.BytesIO(value["bytes"])
    return value


def load_mixtures(
    arguments: MixtureArguments,
    sampling_rate: int,
    num_sources: int | None,
    max_mixtures: int | None = None,
    show_progress: bool = True,
) -> MixtureList:
    """
    Load the list of the arguments.

    Args:
        arguments ([`MixtureArguments`]):
            Source of the list.
        sampling_rate (`int`):
            Rate to read at, in hertz.
        num_sources (`int` or `None`):
            Number of sources of the model; `None` allows mixtures of any number.
        max_mixtures (`int`, *optional*):
            Maximum number of mixtures, from the start of the list.
        show_progress (`bool`, *optional*, defaults to `True`):
            Whether to show a bar while the headers of the files are read.

    Raises:
        `SettingsError`: the list does not match the arguments, or has another number of sources.
    """
    audio = None
    if arguments.tree is not None:
        rows = tree_rows(arguments, sampling_rate)
    elif arguments.metadata is not None:
        rows = metadata_rows(arguments, sampling_rate, num_sources)
    else:
        audio = open_dataset(arguments)
        rows = dataset_rows(audio, arguments, sampling_rate)
    rows = list(
        tqdm(islice(rows, max_mixtures), desc=f"Listing {arguments.name}", unit="mixture", disable=not show_progress)
    )
    if not rows:
        raise SettingsError(f"{arguments.name} holds no mixture.")
    found = len(rows[0]["source_paths"])
    if num_sources not in (None, found):
        raise SettingsError(f"{arguments.name} lists mixtures of {found} sources, but the model has {num_sources}.")
    return MixtureList(Dataset.from_list(rows, features=FEATURES), sampling_rate, audio)


def fill_row(place: str, mixture_id: str, num_samples: int, source_paths: list[str], **values: object) -> dict:
    """A row of the table; other values are missing."""
    row = dict.fromkeys(FEATURES) | {
        "mixture_id": mixture_id,
        "place": place,
        "num_samples": num_samples,
        "source_paths": source_paths,
        "source_gains": [1.0] * len(source_paths),
        "speakers": [],
        "sexes": [],
    }
    return row | values


def tree_rows(arguments: MixtureArguments, sampling_rate: int) -> Iterable[dict]:
    """The mixtures of a generated split, from its existing files: the paths in its csv may be those of another machine."""
    folder = Path(arguments.tree)
    sources = tree_sources(folder, arguments.mix_type)
    for path in list_tree(folder, arguments.mix_type):
        paths = [source / path.name for source in sources]
        if missing := [source for source in paths if not source.is_file()]:
            raise SettingsError(
                f"{missing[0]} does not exist, but {path} does: the tree is incomplete. Generate it again."
            )
        num_samples = min(audio_length(file, sampling_rate) for file in (path, *paths))
        yield fill_row(
            str(path),
            path.stem,
            num_samples,
            [str(source) for source in paths],
            mixture_path=str(path),
            speakers=speakers_of_mixture(path.stem)[: len(paths)],
        )


def metadata_rows(arguments: MixtureArguments, sampling_rate: int, num_sources: int | None) -> Iterable[dict]:
    """The mixtures of a LibriMix csv, to be mixed from the listed files."""
    # a single voice in noise can come from a list with any number of sources
    wanted = None if arguments.mix_type == "mix_single" else num_sources
    rows = read_metadata(arguments.metadata, arguments.root, wanted)
    fit = {"min": min, "max": max}[arguments.mode]
    for place, row in rows.items():
        numbers = source_numbers(row, arguments.mix_type)
        paths = source_paths(row, arguments.root)
        try:
            headers = [read_header(path) for path in paths]
        except AudioError as error:
            raise AudioError(f"{place}: {error}") from error
        # the official scripts prepare noise for the longest source, before any resampling
        noise_length = max(header.length(ORIGINAL_RATE) for header in headers)
        yield fill_row(
            place,
            row["mixture_ID"],
            fit(header.length(sampling_rate) for header in headers),
            [str(paths[number - 1]) for number in numbers],
            source_gains=[row[f"source_{number}_gain"] for number in numbers],
            speakers=[source_speaker(row, number) for number in numbers],
            sexes=[row.get(f"source_{number}_sex") for number in numbers],
            **(noise_values(place, row, arguments, noise_length) if arguments.mix_type != "mix_clean" else {}),
        )


def noise_values(
    place: str, row: dict[str, str | float], arguments: MixtureArguments, noise_length: int
) -> dict[str, object]:
    """The noise of a row of metadata."""
    if arguments.noise_root is None or not row.get("noise_path"):
        raise SettingsError(
            f"`mix_type` {arguments.mix_type} needs noise: give `noise_root`, the root of noise_path in {arguments.metadata}, "
            "or use mix_clean."
        )
    path = Path(arguments.noise_root) / row["noise_path"]
    if not path.is_file():
        raise SettingsError(f"{place}: `noise_path` ({row['noise_path']!r}) is no file below {arguments.noise_root}.")
    return {"noise_path": str(path), "noise_gain": row["noise_gain"], "noise_length": noise_length}


def is_saved_dataset(folder: Path) -> bool:
    """Whether a folder was written by `save_to_disk` of the datasets library."""
    return any((folder / f"{name}.json").is_file() for name in ("dataset_dict", "dataset_info", "state"))


def holds_files(feature: object) -> bool:
    """Whether a column of this type contains paths or encoded audio."""
    if isinstance(feature, dict):
        return {"bytes", "path"} <= feature.keys()
    return isinstance(feature, Audio) or feature in (Value("string"), Value("large_string"))


def open_dataset(arguments: MixtureArguments) -> Dataset:
    """
    Open a set of the Hub, or a folder written by `save_to_disk`, without decoding its audio.

    Raises:
        `SettingsError`: the set cannot be loaded, lacks a column, or a column contains no audio.
    """
    try:
        if is_saved_dataset(Path(arguments.dataset)):
            found = load_from_disk(arguments.dataset)
            found = found[arguments.split] if isinstance(found, DatasetDict) else found
        else:
            found = load_dataset(arguments.dataset, split=arguments.split)
    except (OSError, ValueError, KeyError, DatasetsError) as error:
        raise SettingsError(f"The dataset {arguments.dataset!r} cannot be loaded: {error}") from error
    columns = [*arguments.source_columns, *([arguments.mixture_column] if arguments.mixture_column else [])]
    for column in columns:
        if column not in found.column_names:
            raise SettingsError(
                f"The dataset {arguments.dataset!r} has no column {column!r}: it has {', '.join(found.column_names)}."
            )
        if not holds_files(found.features[column]):
            raise SettingsError(
                f"The column {column!r} of the dataset {arguments.dataset!r} contains {found.features[column]}: "
                "it must contain paths of audio files, or `Audio`."
            )
        if isinstance(found.features[column], Audio):
            # decoding by the library would need torchcodec, and decode whole files
            found = found.cast_column(column, Audio(decode=False))
    return found.select_columns(columns)


def dataset_rows(audio: Dataset, arguments: MixtureArguments, sampling_rate: int) -> Iterable[dict]:
    """The mixtures of a dataset, one per row, as long as the shortest of their files."""
    for index, files in enumerate(audio):
        headers = row_headers(files, index, arguments.dataset)
        num_samples = min(header.length(sampling_rate) for header in headers)
        place = f"Row {index} of {arguments.dataset}"
        yield fill_row(place, str(index), num_samples, arguments.source_columns, mixture_path=arguments.mixture_column)


def row_headers(files: dict[str, str | dict | None], index: int, name: str) -> list[Header]:
    """
    The headers of the files in a row of a dataset.

    Raises:
        `SettingsError`: a file cannot be read; the message names the row and the column.
    """
    headers = []
    for column, value in files.items():
        file = encoded_file(value)
        if not file:
            raise SettingsError(f"Row {index} of {name} has no file in the column {column!r}: leave the row out.")
        try:
            headers.append(read_header(file))
        except SettingsError as error:
            raise SettingsError(f"Row {index} of {name}, column {column!r}: {error}") from error
    return headers
