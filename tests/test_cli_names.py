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
"""Odd names, links and folders do to the command no more than their names say."""

import io
import os
import sys
from pathlib import Path

import pytest

from audioslots_hf.cli import main
from audioslots_hf.layouts import walk_files
from tests.cli_helpers import files_in, replace_model, write


# each may end a file system call, a shell, a terminal or a format
NAMES = [
    "-o.wav",
    "new\nline.wav",
    "\U0001f600.wav",
    " a .wav",
    "dot..wav",
    "a:b.wav",
    "$x$^.wav",
    "back\\slash.wav",
    "\x1b.wav",
]


def test_odd_names_are_kept(separate, tmp_path, monkeypatch):
    replace_model(monkeypatch, [0.5, 0.5])
    for name in NAMES:
        write(tmp_path / "in" / name)
    status, output, _ = separate(tmp_path / "in", "--plot")
    assert status == 0
    found = {path.name for path in (tmp_path / "out").glob("*_source_1.wav")}
    assert found == {f"{name.removesuffix('.wav')}_source_1.wav" for name in NAMES}
    assert len(list((tmp_path / "out").glob("*.png"))) == len(NAMES)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems take only valid Unicode")
def test_names_that_are_not_valid_unicode_are_read_written_drawn_and_printed(checkpoint, tmp_path, monkeypatch):
    replace_model(monkeypatch, [0.5, 0.5])
    write(tmp_path / "a.wav")
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.wav"))
    (tmp_path / "a.wav").rename(path)
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding="utf-8"))
    words = ["separate", path, "-o", tmp_path / "out", "--model", checkpoint, "--device", "cpu", "--plot"]
    words += ["--num-speakers", "outputs"]
    assert main([str(word) for word in words]) == 0
    sys.stdout.flush()
    assert b"/\xff\xfe_source_0.wav\n" in printed.getvalue()
    tracks = sorted(os.listdir(os.fsencode(tmp_path / "out")))
    assert tracks == [b"\xff\xfe_separation.png", b"\xff\xfe_source_0.wav", b"\xff\xfe_source_1.wav"]


def test_a_name_too_long_for_a_track_is_refused_before_any_work(separate, tmp_path, monkeypatch):
    # a disk takes names of 255 bytes
    longest = "x" * (255 - len("_source_0.wav"))
    assert separate(write(tmp_path / f"{longest}.wav"))[0] == 0
    monkeypatch.setattr("audioslots_hf.separator.Separator.separate_chunks", None)
    status, _, errors = separate(write(tmp_path / f"{longest}x.wav"))
    assert status == 1 and "xx_source_0.wav is too long for the name of a file: shorten" in errors


def test_empty_text_is_no_file_and_no_folder(separate, tmp_path, capsys):
    status, _, errors = separate("")
    assert status == 1 and "An input is empty text" in errors
    with pytest.raises(SystemExit):
        separate(write(tmp_path / "a.wav"), "-o", "")
    assert "argument -o/--output: it is empty" in capsys.readouterr().err


def test_an_output_that_cannot_be_is_named_with_the_reason(separate, tmp_path):
    (tmp_path / "file").write_text("")
    status, _, errors = separate(write(tmp_path / "a.wav"), output=tmp_path / "file" / "out")
    assert status == 1 and f"{tmp_path / 'file' / 'out'} cannot be created (Not a directory)" in errors


def test_links_to_parents_bring_no_files_that_were_not_named(tmp_path):
    folder = tmp_path / "a" / "b"
    kept = write(folder / "kept.wav")
    write(tmp_path / "a" / "other.wav")
    for name, target in (("up", ".."), ("top", tmp_path), ("root", "/"), ("same", ".")):
        (folder / name).symlink_to(target)
    (folder / "self.wav").symlink_to(folder / "self.wav")
    assert walk_files(folder) == [kept]


def test_a_folder_that_holds_its_tracks_is_separated_again_without_them(separate, tmp_path, monkeypatch):
    replace_model(monkeypatch, [0.5, 0.5])
    folder = tmp_path / "in"
    write(folder / "a.wav")
    assert separate(folder, output=folder)[0] == 0
    names = files_in(folder)
    status, output, errors = separate(folder, "--skip-existing", output=folder)
    assert status == 0 and "left out 2 files, which are tracks of other files there" in errors
    assert files_in(folder) == names
    # they may be recordings of the user, which nothing overwrites
    assert separate(folder, "--force", output=folder)[0] == 1
    (folder / "a_source_0.wav").unlink()
    assert separate(folder, "--skip-existing", output=folder)[0] == 1
    (folder / "a_source_1.wav").rename(folder / "a_source_0.wav")
    # in another folder they are recordings
    assert separate(folder)[0] == 0
    assert "a_source_0_source_0.wav" in files_in(tmp_path / "out")
