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

import pytest

from audioslots_hf.records import record_path, remove_stale, write_record


@pytest.fixture
def tracks(tmp_path):
    """Three recorded tracks of the recording `talk`."""
    paths = [tmp_path / f"talk_source_{index}.wav" for index in range(3)]
    for path in paths:
        path.write_text(path.name)
    write_record(tmp_path, "talk", paths)
    return paths


def test_recorded_files_that_are_not_written_again_are_removed(tmp_path, tracks):
    assert remove_stale(tmp_path, "talk", tracks[:1]) == tracks[1:]
    assert [path.exists() for path in tracks] == [True, False, False]
    # the record is that of the last run only
    assert remove_stale(tmp_path, "talk", []) == [] and tracks[0].exists()


def test_a_file_that_changed_since_stays(tmp_path, tracks):
    tracks[1].write_text("edited")
    os.utime(tracks[2], ns=(1, 1))
    assert remove_stale(tmp_path, "talk", []) == tracks[:1]


def test_files_of_other_recordings_stay(tmp_path, tracks):
    other = tmp_path / "talk_2_source_0.wav"
    other.write_text("other")
    write_record(tmp_path, "talk_2", [other])
    assert remove_stale(tmp_path, "talk", tracks) == [] and other.exists()


@pytest.mark.parametrize("name", ["../talk_source_9.wav", "notes.txt", "talk.wav", "talk_source_0.wav/../../x"])
def test_a_record_cannot_name_other_files(tmp_path, tracks, name):
    folder = tmp_path / "folder"
    folder.mkdir()
    for path in (folder / "notes.txt", folder / "talk.wav", tmp_path / "talk_source_9.wav"):
        path.write_text("mine")
    write_record(folder, "talk", [])
    target = folder / name
    state = [target.stat().st_size, target.stat().st_mtime_ns] if target.is_file() else [0, 0]
    record_path(folder, "talk").write_text(json.dumps({"files": {name: state}}))
    assert remove_stale(folder, "talk", []) == []
    assert (folder / "notes.txt").exists() and (tmp_path / "talk_source_9.wav").exists()


@pytest.mark.parametrize("text", ["", "[]", '{"files": 3}', '{"files": {"talk_source_0.wav": 7}}'])
def test_a_damaged_record_removes_nothing(tmp_path, tracks, text):
    record_path(tmp_path, "talk").write_text(text)
    assert remove_stale(tmp_path, "talk", []) == [] and all(path.exists() for path in tracks)
