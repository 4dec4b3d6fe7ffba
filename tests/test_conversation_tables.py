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
import os
import re

import pytest

from audioslots_hf.files import is_locked
from training import publish
from training.reporting import conversations
from training.reporting.cards import CONVERSATIONS, CONVERSATIONS_PAGE, name_part
from training.reporting.conversations import add_conversations, average_lists, format_tables, read_conversations
from training.settings import SettingsError


def result(lists, model="first", sha256="a", **options):
    """The scores of lists, each of `num_recordings`, `own_track` and `si_sdri`."""
    names = ("num_recordings", "own_track", "si_sdri")
    summaries = {name: dict(zip(names, scores, strict=True)) for name, scores in lists.items()}
    described = {"model": model, "weights": {"sha256": sha256}}
    described |= {"num_speakers": "auto", "online": False, "passes": 1, "channels": "each"}
    return described | options | {"lists": summaries}


TWO = {"here, 2 voices, 60 s, overlap 20 %": (4, 0.9, 10.0)}
THREE = {"here, 3 voices, 60 s, overlap 20 %": (2, 0.6, 7.0)}
ONE = {"here, 1 voice, 60 s, overlap 0 %": (2, 1.0, None)}


def test_lists_replace_those_of_the_same_name_model_and_options(tmp_path):
    path = tmp_path / "conversations.json"
    better = dict.fromkeys(TWO, (8, 0.95, 12.0))
    for added in (result(TWO), result(THREE), result(TWO, online=True), result(TWO, "second"), result(better)):
        add_conversations(path, added)
    assert read_conversations(path) == [result(better | THREE), result(TWO, online=True), result(TWO, "second")]
    assert [file.name for file in tmp_path.iterdir()] == ["conversations.json"]


@pytest.mark.skipif(os.name != "posix", reason="folders cannot be locked")
def test_a_run_waits_for_the_lists_of_another_one(tmp_path, monkeypatch):
    path = tmp_path / "conversations.json"
    folder = os.open(tmp_path, os.O_RDONLY)
    assert is_locked(folder) is False

    def finish_other_run(seconds):
        path.write_text(json.dumps([result(TWO)]))
        os.close(folder)

    monkeypatch.setattr(conversations.time, "sleep", finish_other_run)
    add_conversations(path, result(THREE))
    assert read_conversations(path) == [result(TWO | THREE)]


def test_lists_of_other_weights_of_the_same_name_are_dropped(tmp_path, capsys):
    path = tmp_path / "conversations.json"
    for added in (result(TWO), result(TWO, passes=2), result(TWO, "second"), result(THREE, sha256="b")):
        add_conversations(path, added)
    assert read_conversations(path) == [result(TWO, "second"), result(THREE, sha256="b")]
    assert capsys.readouterr().err == f"{path}: the lists of other weights of first are dropped.\n"


def test_each_set_of_options_has_a_table():
    results = [result(TWO | ONE), result(TWO, num_speakers="true", online=True), result(TWO, passes=2, channels="mix")]
    tables = format_tables(results)
    assert list(tables) == [
        "--num-speakers auto",
        "--num-speakers true --online",
        "--num-speakers auto --passes 2 --channels mix",
    ]
    assert tables["--num-speakers auto"].splitlines() == [
        "| list | recordings | si_sdri, dB | own_track |",
        "| --- | --- | --- | --- |",
        "| here, 2 voices, 60 s, overlap 20 % | 4 | 10.0 | 0.90 |",
        "| here, 1 voice, 60 s, overlap 0 % | 2 | - | 1.00 |",
    ]


def test_models_are_compared_list_by_list():
    [table] = format_tables([result(TWO | THREE), result(THREE, "second")]).values()
    rows = [line.split(" | ")[:2] for line in table.splitlines()[2:]]
    two, three = (f"| {name}" for name in (*TWO, *THREE))
    mean = "| mean of 2 lists of test speakers, 60 s, overlap 20 %"
    assert rows == [[two, "`first`"], [three, "`first`"], [three, "`second`"], [mean, "`first`"]]


def test_a_mean_is_that_of_all_recordings_of_several_voices():
    panned = {f"{name}, panned by 6 dB": scores for name, scores in TWO.items()}
    validation = {"here-valid, 2 voices, 60 s, overlap 20 %": (2, 0.5, 1.0)}
    lone = {"here, 1 voice, 60 s, overlap 20 %": (2, 1.0, None)}
    lists = result(TWO | THREE | panned | validation | lone)["lists"]
    [[name, mean]] = average_lists(lists).items()
    assert name == "mean of 2 lists of test speakers, 60 s, overlap 20 %"
    assert mean == {"num_recordings": 6, "own_track": pytest.approx(0.8), "si_sdri": pytest.approx(9.0)}
    # a score that one of them lacks has no mean
    del lists["here, 2 voices, 60 s, overlap 20 %"]["si_sdri"]
    [mean] = average_lists(lists).values()
    assert mean == {"num_recordings": 6, "own_track": pytest.approx(0.8)}


def test_a_mean_is_that_of_all_pannings_too():
    pannings = {
        level: {f"{name}, panned by {level} dB": row for name, row in (TWO | THREE).items()} for level in (3, 6)
    }
    [alone] = average_lists(result(pannings[3])["lists"])
    assert alone == "mean of 2 lists of test speakers, 60 s, overlap 20 %, panned by 3 dB"
    means = average_lists(result(pannings[3] | pannings[6])["lists"])
    panned = "mean of 4 lists of test speakers, 60 s, overlap 20 %, panned"
    assert list(means) == [alone, panned, alone.replace("3 dB", "6 dB")]
    assert means[panned] == pytest.approx(means[alone] | {"num_recordings": 12})


@pytest.mark.parametrize("content", ["{", "{}", "7", "[7]", '[{"lists": {}}]', '{"lists": {}, "model": "first"}'])
def test_another_file_is_refused(tmp_path, content):
    path = tmp_path / "conversations.json"
    path.write_text(content)
    with pytest.raises(SettingsError, match=r"is not a file of training\.benchmark conversations --output"):
        read_conversations(path)


@pytest.mark.parametrize("missing", ["model", "weights", "channels", "lists", "num_recordings"])
def test_a_result_that_lacks_a_part_is_refused(tmp_path, missing):
    path = tmp_path / "conversations.json"
    known = result(TWO)
    for place in (known, *known["lists"].values()):
        place.pop(missing, None)
    path.write_text(json.dumps([known]))
    with pytest.raises(SettingsError, match=r"is not a file of training\.benchmark conversations --output"):
        read_conversations(path)


def test_the_tables_of_a_file_are_printed(tmp_path, capsys):
    path = tmp_path / "conversations.json"
    path.write_text(json.dumps([result(TWO)]))
    publish.main(["tables", str(path)])
    assert capsys.readouterr().out.splitlines()[:3] == [
        "`--num-speakers auto`",
        "",
        "| list | recordings | si_sdri, dB | own_track |",
    ]
    with pytest.raises(SystemExit):
        publish.main(["tables", str(tmp_path / "none.json")])
    assert "none.json" in capsys.readouterr().err


def test_the_page_of_conversations_shows_the_tables_of_its_file():
    page = CONVERSATIONS_PAGE.read_text(encoding="utf-8")
    parts = dict(re.findall(r"<!-- (.+?):start -->\n(.*?)<!-- \1:end -->", page, re.DOTALL))
    tables = format_tables(read_conversations(CONVERSATIONS))
    assert parts == {name_part(options): table for options, table in tables.items()}
