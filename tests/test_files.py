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
from collections.abc import Callable
from pathlib import Path

import pytest

from audioslots_hf.files import rename, replacing, replacing_all, write_csv
from audioslots_hf.leftovers import remove_leftovers


def write_folder(folder: Path, text: str) -> Path:
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_text(text)
    return folder


def test_a_file_keeps_its_content_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "picture.png"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        # the format is read from the suffix
        assert temporary.suffix == ".png"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_the_old_file_and_nothing_of_the_new_one(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="half way"), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("half way")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_of_a_set_of_files_none_is_renamed_before_all_are_complete(tmp_path):
    paths = [tmp_path / "a.wav", tmp_path / "b.wav"]
    with pytest.raises(RuntimeError, match="second"), replacing_all(paths) as temporaries:
        temporaries[0].write_text("first")
        raise RuntimeError("second")
    assert not list(tmp_path.iterdir())
    with replacing_all(paths) as temporaries:
        for temporary in temporaries:
            temporary.write_text(temporary.name)
        assert not any(path.exists() for path in paths)
    assert sorted(tmp_path.iterdir()) == paths


def test_two_writers_of_one_file_have_two_temporary_files(tmp_path):
    paths = [tmp_path / "a.wav", tmp_path / "b.wav"]
    with replacing_all(paths) as first, replacing_all(paths) as second:
        for name, temporaries in (("first", first), ("second", second)):
            for temporary in temporaries:
                assert not temporary.exists()
                temporary.write_text(name)
        # a run that begins meanwhile takes neither for those of a dead one
        assert remove_leftovers([tmp_path]) == 0
    assert [path.read_text() for path in paths] == ["first", "first"] and sorted(tmp_path.iterdir()) == paths


def test_files_that_only_the_old_folder_had_are_removed(tmp_path):
    folder = write_folder(tmp_path / "best", "old")
    (folder / "modeling_old.py").write_text("old")
    rename(write_folder(tmp_path / ".tmp-best", "new"), folder)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]


def test_a_folder_that_takes_the_place_of_another_is_never_absent_or_half_there(tmp_path, monkeypatch):
    folder = write_folder(tmp_path / "best", "old")
    seen = []

    def watch(method: Callable) -> Callable:
        def watched(path, *arguments):
            result = method(path, *arguments)
            seen.append(sorted(file.name for file in folder.iterdir()))
            return result

        return watched

    for name in ("replace", "rename", "unlink", "rmdir"):
        monkeypatch.setattr(Path, name, watch(getattr(Path, name)))
    rename(write_folder(tmp_path / ".tmp-best", "new"), folder)
    assert [path.read_text() for path in folder.iterdir()] == ["new", "new"]
    assert seen and all(names == ["config.json", "model.safetensors"] for names in seen)
    assert not (tmp_path / ".tmp-best").exists()


def test_a_new_folder_appears_at_once(tmp_path):
    rename(write_folder(tmp_path / ".tmp-last", "new"), tmp_path / "last")
    assert sorted(path.name for path in (tmp_path / "last").iterdir()) == ["config.json", "model.safetensors"]
    assert [path.name for path in tmp_path.iterdir()] == ["last"]


def test_nan_and_missing_values_are_empty_cells(tmp_path):
    write_csv(tmp_path / "scores.csv", [{"name": "a", "score": float("nan")}, {"name": "b", "other": 1}])
    assert (tmp_path / "scores.csv").read_text().splitlines() == ["name,score,other", "a,,", "b,,1"]
