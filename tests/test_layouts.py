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
from pathlib import Path

import pytest

from audioslots_hf.layouts import find_mixtures, find_sources, walk_files


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def found(folder: Path) -> dict[str, dict[str, str]]:
    problems = []
    sources = find_sources(folder, problems)
    assert problems == []
    return {
        recording: {source: str(path.relative_to(folder)) for source, path in files.items()}
        for recording, files in sources.items()
    }


@pytest.mark.parametrize(
    "labels", [("source_0", "source_1"), ("s1", "s2"), ("1", "2"), ("spk1", "spk2"), ("est1", "est2")]
)
@pytest.mark.parametrize("recording", ["a", "two_voices", "61-70968-0000_8455-210777-0012", "0880_0045", "take_3"])
def test_flat_files_are_read(tmp_path, recording, labels):
    touch(tmp_path, *(f"{recording}_{label}.wav" for label in labels))
    assert found(tmp_path) == {recording: {label: f"{recording}_{label}.wav" for label in labels}}


def test_a_mixture_among_flat_files_is_no_source(tmp_path):
    touch(tmp_path, "a.flac", "a_source_0.flac", "a_source_1.flac", "a_separation.png", "._a_source_0.flac")
    assert found(tmp_path) == {"a": {"source_0": "a_source_0.flac", "source_1": "a_source_1.flac"}}


def test_a_mixture_that_is_called_like_a_source_is_none(tmp_path):
    touch(tmp_path, *(f"take_{number}{label}.wav" for number in (1, 2) for label in ("", "_s1", "_s2")))
    assert found(tmp_path) == {name: {"s1": f"{name}_s1.wav", "s2": f"{name}_s2.wav"} for name in ("take_1", "take_2")}


def test_a_source_that_is_called_like_a_recording_is_one(tmp_path):
    touch(tmp_path, *(f"{name}_{number}.wav" for name in ("speech", "speech_2") for number in (1, 2)))
    assert found(tmp_path) == {
        name: {str(number): f"{name}_{number}.wav" for number in (1, 2)} for name in ("speech", "speech_2")
    }


def test_the_folders_of_librimix_are_read(tmp_path):
    touch(
        tmp_path, *(f"{folder}/{name}.wav" for folder in ("s1", "s2", "mix_clean", "noise") for name in ("a_1", "b_2"))
    )
    assert found(tmp_path) == {name: {"s1": f"s1/{name}.wav", "s2": f"s2/{name}.wav"} for name in ("a_1", "b_2")}


def test_a_folder_per_recording_is_read(tmp_path):
    touch(tmp_path, "1/vocals.wav", "1/drums.wav", "2/s1.wav", "2/s2.wav", "2/mixture.wav", "empty/notes.txt")
    assert found(tmp_path) == {
        "1": {"drums": "1/drums.wav", "vocals": "1/vocals.wav"},
        "2": {"s1": "2/s1.wav", "s2": "2/s2.wav"},
    }


def test_sources_are_in_the_order_of_their_numbers(tmp_path):
    touch(tmp_path, *(f"a_s{number}.wav" for number in range(1, 12)))
    assert list(found(tmp_path)["a"]) == [f"s{number}" for number in range(1, 12)]


@pytest.mark.parametrize(
    "names, message",
    [
        (["notes.txt"], "holds no audio named NAME_source_0.wav"),
        (["a/b/c.wav"], "holds no audio named NAME_source_0.wav"),
        (["a_s1.wav", "b/s1.wav"], r"holds audio both directly \(a_s1.wav\) and in folders \(b\)"),
    ],
)
def test_a_folder_in_no_layout_is_an_error(tmp_path, names, message):
    with pytest.raises(ValueError, match=message):
        find_sources(touch(tmp_path, *names), [])


def test_links_to_folders_are_followed_once_and_what_is_hidden_is_not_listed(tmp_path):
    root = touch(tmp_path / "root", "b/2.wav", "a.wav", "b/.notes.wav", ".old/1.wav")
    touch(tmp_path / "elsewhere", "c/3.wav")
    (root / "d").symlink_to(tmp_path / "elsewhere")
    (root / "b" / "4.wav").symlink_to(tmp_path / "elsewhere" / "c" / "3.wav")
    # a link to nothing, and one that leads back
    (root / "b" / "5.wav").symlink_to(tmp_path / "nowhere")
    (tmp_path / "elsewhere" / "round").symlink_to(root)
    assert [path.relative_to(root).as_posix() for path in walk_files(root, (".wav",))] == [
        "a.wav",
        "b/2.wav",
        "b/4.wav",
        "d/c/3.wav",
    ]


def test_a_folder_that_does_not_exist_is_an_error(tmp_path):
    for find in (lambda: find_sources(tmp_path / "no", []), lambda: find_mixtures(tmp_path / "no", [], [])):
        with pytest.raises(ValueError, match="no is not a folder"):
            find()


def test_files_without_a_place_are_named(tmp_path):
    problems = []
    find_sources(touch(tmp_path, "a_s1.wav", "a_s1.flac", "a_s2.wav", "b.wav", "c_hat.wav"), problems)
    assert len(problems) == 3
    assert problems[0] == f"{tmp_path / 'a_s1.flac'} and {tmp_path / 'a_s1.wav'} are the same source: remove one"
    assert problems[1].startswith(f"{tmp_path / 'b.wav'} is not named like NAME_source_0.wav")
    assert problems[2].startswith(f"{tmp_path / 'c_hat.wav'} is not named like")


def test_mixtures_may_lie_among_other_files(tmp_path):
    problems = []
    mixtures = find_mixtures(touch(tmp_path, "a.wav", "a_s1.wav", "b.wav", "b.flac"), ["a", "b"], problems)
    assert mixtures["a"] == tmp_path / "a.wav"
    assert problems == [f"{tmp_path / 'b.flac'} and {tmp_path / 'b.wav'} are the same mixture: remove one"]
