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
import json
import shutil
from pathlib import Path

import pytest
import soundfile
import torch
from datasets import Audio, Dataset

from tests.audio_helpers import noise
from tests.conftest import SAMPLES
from tests.data.helpers import SPEECH, files_of
from training.arguments import MixtureArguments
from training.data.mixtures import FEATURES, load_mixtures
from training.settings import SettingsError


METADATA = {"metadata": str(SAMPLES / "valid.csv"), "root": str(SPEECH)}


def test_a_span_behind_the_end_of_a_shorter_voice_is_silent_there(prepared):
    listed = MixtureArguments(metadata=str(prepared.metadata), root=str(SPEECH), mode="max")
    for sampling_rate in (8000, 16000):
        mixtures = load_mixtures(listed, sampling_rate, 2, show_progress=False)
        start = mixtures.rows[0]["num_samples"] - 1000
        span, whole = mixtures.read(0, start, 1000), mixtures[0]
        torch.testing.assert_close(span.references, whole.references[:, start:], atol=1e-6, rtol=0)
        assert (span.references == 0).all(dim=1).sum() == 1


@pytest.mark.parametrize("kind", ["paths", "audio", "bytes"])
def test_a_dataset_is_read_like_the_tree_it_was_made_of(prepared, dataset_rows, tmp_path, kind):
    table = Dataset.from_dict(dataset_rows)
    if kind == "bytes":
        embedded = {
            column: [{"bytes": Path(path).read_bytes(), "path": None} for path in paths]
            for column, paths in dataset_rows.items()
        }
        table = Dataset.from_dict(embedded)
    if kind != "paths":
        # the type of a set of the Hub; it is set by hand, because encoding would need torchcodec
        for column in dataset_rows:
            table = table.cast_column(column, Audio(decode=False))
    table.save_to_disk(tmp_path / "set")
    listed = MixtureArguments(dataset=str(tmp_path / "set"), source_columns=["s1", "s2"], mixture_column="mix_both")
    found = load_mixtures(listed, 8000, 2, show_progress=False)
    tree = MixtureArguments(tree=str(prepared.folder(16000, "min")), mix_type="mix_both")
    expected = load_mixtures(tree, 8000, 2, show_progress=False)
    for index in range(3):
        torch.testing.assert_close(found[index].waveform, expected[index].waveform)
        torch.testing.assert_close(found[index].references, expected[index].references)


def test_a_folder_of_json_is_a_dataset_too(dataset_rows, tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    rows = [{"s1": one, "s2": other} for one, other in zip(dataset_rows["s1"], dataset_rows["s2"], strict=True)]
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train.json").write_text(json.dumps(rows))
    listed = MixtureArguments(dataset=str(tmp_path / "set"), source_columns=["s1", "s2"])
    assert len(load_mixtures(listed, 16000, 2, show_progress=False)) == 3


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([[0.1, 0.2], [0.3]], "The column 's2'.*must contain paths"),
        ([0.1, 0.2], "The column 's2'.*must contain paths"),
        ([str(SAMPLES / "valid.csv"), ""], "Row 0 .*column 's2'.*valid.csv cannot be read as audio"),
        ([{"bytes": None, "path": None}] * 2, "Row 0 .*no file in the column 's2'"),
        ([{"bytes": b"text", "path": "a.wav"}] * 2, "Row 0 .*column 's2'.*cannot be read as audio"),
        ([None, ""], "Row 0 .*no file in the column 's2'"),
    ],
)
def test_columns_and_rows_of_a_dataset_without_audio_are_named(tmp_path, column, message):
    table = Dataset.from_dict({"s1": [str(files_of(SPEECH)[0])] * 2, "s2": column})
    table.save_to_disk(tmp_path / "set")
    listed = MixtureArguments(dataset=str(tmp_path / "set"), source_columns=["s1", "s2"])
    with pytest.raises(SettingsError, match=message):
        load_mixtures(listed, 16000, 2, show_progress=False)


def test_all_lists_have_one_form(prepared, dataset_rows, tmp_path):
    Dataset.from_dict(dataset_rows).save_to_disk(tmp_path / "set")
    lists = [
        MixtureArguments(tree=str(prepared.folder(16000, "min"))),
        MixtureArguments(metadata=str(prepared.metadata), root=str(SPEECH)),
        MixtureArguments(dataset=str(tmp_path / "set"), source_columns=["s1", "s2"]),
    ]
    tables = [load_mixtures(item, 16000, 2, show_progress=False).table for item in lists]
    assert all(table.features == FEATURES and len(table) == 3 for table in tables)
    assert {row["speakers"][0] for row in tables[1]} <= {"librivox_austen", "msu_ru_nsh"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tree": str(SPEECH)}, "no folder mix_clean.*librivox_austen"),
        (METADATA | {"mix_type": "mix_both"}, "needs noise: give `noise_root`"),
        ({"dataset": str(SAMPLES), "source_columns": ["a"]}, "cannot be loaded"),
    ],
)
def test_lists_that_cannot_be_read_are_named(values, message, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    with pytest.raises(SettingsError, match=message):
        load_mixtures(MixtureArguments(**values), 16000, 2, show_progress=False)


def test_a_list_of_another_number_of_sources_or_a_lost_file_is_refused(prepared, tmp_path):
    tree = MixtureArguments(tree=str(prepared.folder(16000, "min")))
    with pytest.raises(SettingsError, match="2 sources, but the model has 3"):
        load_mixtures(tree, 16000, 3, show_progress=False)
    shutil.copytree(prepared.folder(16000, "min"), tmp_path / "split")
    many = shutil.copytree(tmp_path / "split", tmp_path / "many")
    for number in range(3, 13):
        shutil.copytree(many / "s1", many / f"s{number}")
    with pytest.raises(SettingsError, match="12 sources, but the model has 2"):
        load_mixtures(MixtureArguments(tree=str(many)), 16000, 2, show_progress=False)
    lost = sorted((tmp_path / "split" / "s2").iterdir())[1]
    soundfile.write(lost, noise(0), 16000)
    with pytest.raises(SettingsError, match=f"{lost} is empty"):
        load_mixtures(MixtureArguments(tree=str(tmp_path / "split")), 16000, 2, show_progress=False)
    lost.unlink()
    with pytest.raises(SettingsError, match=str(lost)):
        load_mixtures(MixtureArguments(tree=str(tmp_path / "split")), 16000, 2, show_progress=False)
