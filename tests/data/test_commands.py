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
import csv
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from datasets import Dataset, DatasetDict

from tests.audio_helpers import noise
from tests.conftest import SAMPLES
from tests.data.helpers import DEBUG, SPEECH
from training.arguments import SpeechArguments, load_arguments
from training.data import __main__ as command
from training.data.mixtures import load_mixtures
from training.data.speech import list_speech, load_speech


def run(capsys, *arguments: str | Path) -> tuple[int, str]:
    status = command.main([str(argument) for argument in arguments])
    output = capsys.readouterr()
    return status, output.out + "".join(line for line in output.err.splitlines(True) if line.startswith("error"))


def arguments_of(output: str, folder: Path, num: int = 0):
    """The run that the lines which `check` proposes make, in place of the speech of the debug config."""
    lines = output.split("read it with\n")[1 + num].split("\n\n")[0]
    config = DEBUG.read_text().replace("speech:\n  - root: tests/samples/speech\n", "")
    path = folder / "proposed.yaml"
    path.write_text(config + "\n".join(line.removeprefix("    ") for line in lines.splitlines()))
    return load_arguments(path, [])


@pytest.fixture(scope="module")
def generated(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("generated")
    options = ["--num-mixtures", "2", "--sampling-rates", "8000", "16000", "--split", "dev"]
    assert command.main(["prepare", "--speech", str(SPEECH), "--out", str(out), *options]) == 0
    return out


def test_a_folder_of_speech_is_described_and_the_lines_that_read_it_work(capsys, tmp_path):
    status, output = run(capsys, "check", SPEECH)
    assert status == 0
    assert "2, with 3 to 3 files each" in output and "16000 Hz (6 files)" in output
    arguments = arguments_of(output, tmp_path)
    assert len(load_speech(arguments.speech[0], 16000, show_progress=False)) == 2


def test_encoded_speech_is_read_as_the_original_would_be(capsys, tmp_path):
    status, output = run(capsys, "encode", SPEECH, "--out", tmp_path / "out", "--bit-rate", 32)
    assert status == 0 and "6 files, " in output
    original = load_speech(SpeechArguments(str(SPEECH)), 16000, show_progress=False)
    listed = SpeechArguments(str(tmp_path / "out"), str(tmp_path / "out" / "utterances.csv"))
    encoded = load_speech(listed, 16000, show_progress=False)
    for one, other in zip(sum(original, []), sum(encoded, []), strict=True):
        assert one.path.stem == other.path.stem and one.num_samples == other.num_samples
        assert other.loudness == pytest.approx(one.loudness, abs=1e-3)
        error = one.samples.astype(float) - other.samples
        # measured 13 to 23 dB
        assert np.square(error).sum() < 0.1 * np.square(one.samples.astype(float)).sum()
    size = sum(path.stat().st_size for path in (tmp_path / "out").rglob("*.opus"))
    assert size < 0.3 * sum(path.stat().st_size for path in SPEECH.rglob("*.flac"))


def test_speech_that_cannot_be_encoded_is_named(capsys, tmp_path):
    status, output = run(capsys, "encode", SPEECH, "--out", tmp_path / "out", "--bit-rate", 500)
    assert status == 1 and "500 kbit/s" in output and not (tmp_path / "out").exists()
    status, output = run(capsys, "encode", SPEECH, "--out", SPEECH)
    assert status == 1 and f"--out is {SPEECH}, the folder of the speech" in output
    for name in ("a.wav", "a.flac"):
        (tmp_path / "speech" / "anna").mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / "speech" / "anna" / name, noise(16000), 16000)
    status, output = run(capsys, "encode", tmp_path / "speech", "--out", tmp_path / "out")
    assert (
        status == 1
        and "a.flac and" in output
        and "would become .opus files of the same name" in output
        and not (tmp_path / "out").exists()
    )
    (tmp_path / "list.csv").write_text("path,speaker\n../speech/anna/a.wav,anna\n")
    (tmp_path / "other").mkdir()
    command = ("encode", tmp_path / "other", "--utterances", tmp_path / "list.csv", "--out", tmp_path / "out")
    status, output = run(capsys, *command)
    assert (
        status == 1 and f"a.wav does not lie below {tmp_path / 'other'}" in output and not (tmp_path / "out").exists()
    )


@pytest.mark.parametrize("name", ["2024", "speech #1", "my speech: new", "it's"])
def test_the_lines_name_a_folder_that_yaml_would_take_for_something_else(capsys, tmp_path, monkeypatch, name):
    shutil.copytree(SPEECH, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    status, output = run(capsys, "check", name)
    assert status == 0 and arguments_of(output, tmp_path).speech[0].root == name


def test_a_speaker_s_folder_may_be_a_link(capsys, tmp_path):
    (tmp_path / "speech").mkdir()
    for speaker in SPEECH.iterdir():
        (tmp_path / "speech" / speaker.name).symlink_to(speaker)
    status, output = run(capsys, "check", tmp_path / "speech")
    assert status == 0 and "2, with 3 to 3 files each" in output


def test_broken_and_useless_files_are_named(capsys, tmp_path):
    shutil.copytree(SPEECH, tmp_path / "speech")
    (tmp_path / "speech" / "msu_ru_nsh" / "broken.wav").write_text("no audio")
    soundfile.write(tmp_path / "speech" / "msu_ru_nsh" / "short.wav", noise(1600), 8000)
    status, output = run(capsys, "check", tmp_path / "speech")
    assert status == 1
    assert "broken.wav" in output and "short.wav: only 0.20 s" in output and "2, with 3 to 3 files" in output


def test_speech_that_only_decoding_shows_to_be_useless_is_named(capsys, tmp_path):
    shutil.copytree(SPEECH, tmp_path / "speech")
    folder = tmp_path / "speech" / "msu_ru_nsh"
    soundfile.write(folder / "silent.wav", np.zeros(32000), 16000)
    soundfile.write(folder / "nan.wav", np.full(32000, np.nan), 16000, subtype="FLOAT")
    whole = sorted(folder.glob("*.flac"))[0].read_bytes()
    (folder / "cut.flac").write_bytes(whole[: len(whole) // 2])
    # whose remaining part is readable
    soundfile.write(folder / "cut.mp3", noise(48000), 16000)
    (folder / "cut.mp3").write_bytes((folder / "cut.mp3").read_bytes()[:8000])
    status, output = run(capsys, "check", tmp_path / "speech")
    assert "cut.mp3 is truncated: its header promises 48000 samples" in output
    (folder / "cut.mp3").unlink()
    # a run would read the first part alone
    parts = [noise(48000, seed=seed) for seed in range(2)]
    for number, part in enumerate(parts):
        soundfile.write(tmp_path / f"{number}.mp3", part, 16000)
    (folder / "both.mp3").write_bytes(b"".join((tmp_path / f"{number}.mp3").read_bytes() for number in range(2)))
    soundfile.write(folder / "half.wav", noise(48000), 16000)
    (folder / "half.wav").write_bytes((folder / "half.wav").read_bytes()[:48000])
    (folder / "notes.txt").write_text("no audio by its name")
    status, output = run(capsys, "check", tmp_path / "speech")
    assert "half.wav is truncated: its header promises 96000 bytes" in output and "both.mp3" not in output
    assert "2, with 3 to 4 files" in output and "left out    1 .txt" in output
    (folder / "both.mp3").unlink()
    (folder / "half.wav").unlink()
    status, output = run(capsys, "check", tmp_path / "speech")
    assert status == 1
    assert "silent.wav is silent" in output and "nan.wav" in output
    assert "cut.flac cannot be decoded" in output and "2, with 3 to 3 files" in output
    # commands that write name the first fault, `check` lists all
    for name in ("list", "encode"):
        status, output = run(capsys, name, tmp_path / "speech", "--out", tmp_path / name)
        assert status == 1 and "cut.flac cannot be read" in output and "training.data check` lists all" in output
    for name in ("cut.flac", "nan.wav"):
        (folder / name).unlink()
    status, output = run(capsys, "list", tmp_path / "speech", "--out", tmp_path / "list")
    assert status == 1 and "silent.wav is silent" in output and not (tmp_path / "list").exists()


def test_a_list_of_speech_is_checked_row_by_row(capsys, tmp_path):
    shutil.copytree(SPEECH, tmp_path / "speech")
    assert run(capsys, "list", tmp_path / "speech", "--out", tmp_path / "list.csv")[0] == 0
    status, output = run(capsys, "check", tmp_path / "list.csv")
    assert status == 0 and "2, with 3 to 3 files each" in output
    arguments = arguments_of(output, tmp_path)
    assert arguments.speech[0].utterances == str(tmp_path / "list.csv")
    assert len(load_speech(arguments.speech[0], 16000, show_progress=False)) == 2
    last = list_speech(tmp_path / "speech", tmp_path / "list.csv")[-1].path
    last.write_bytes(last.read_bytes()[:20000])
    status, output = run(capsys, "check", tmp_path / "list.csv")
    assert status == 1 and f"list.csv, row 7: {last}" in output
    lines = (tmp_path / "list.csv").read_text()
    for line, message in (
        (",,,", "list.csv, row 8 is empty"),
        ("a\\b.wav,c,1,-20", "row 8: `path` .* has backslashes"),
    ):
        (tmp_path / "list.csv").write_text(f"{lines}{line}\n")
        status, output = run(capsys, "check", tmp_path / "list.csv")
        assert status == 1 and re.search(message, output)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "there is no file that ends in"),
        (["a.wav"], "a separate folder"),
        (["anna/a.wav"], "a second speaker"),
    ],
)
def test_missing_parts_are_reported(capsys, tmp_path, files, message):
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / name, noise(16000), 16000)
    status, output = run(capsys, "check", tmp_path)
    assert status == 1 and message in output and "read it with" not in output


def test_the_root_of_librispeech_is_known_by_its_subsets(capsys, tmp_path):
    for subset, speakers in (("train-clean-100", (19, 26)), ("dev-clean", (84, 174, 251))):
        for speaker in speakers:
            folder = tmp_path / subset / str(speaker) / "198"
            folder.mkdir(parents=True)
            soundfile.write(folder / f"{speaker}-198-0000.flac", noise(16000), 16000)
    (tmp_path / "SPEAKERS.TXT").write_text("; text")
    status, output = run(capsys, "check", tmp_path)
    assert status == 0
    assert f"speech: {tmp_path / 'train-clean-100'}" in output and "3, with 1 to 1 files" in output


def test_a_generated_tree_is_described_split_by_split(capsys, tmp_path, generated):
    # also from the folder that it was written into
    for folder in (generated, generated / "Libri2Mix"):
        status, output = run(capsys, "check", folder)
        assert status == 0
    assert output.count("mix_clean (2)") == 2 and "8000 Hz (2 files)" in output
    arguments = arguments_of(output, tmp_path)
    assert len(load_mixtures(arguments.mixtures[0], 16000, 2, show_progress=False)) == 2


def test_a_hole_in_a_generated_tree_is_named(capsys, tmp_path, generated):
    split = tmp_path / "dev"
    shutil.copytree(generated / "Libri2Mix" / "wav16k" / "min" / "dev", split)
    lost = sorted((split / "s2").iterdir())[0]
    lost.unlink()
    status, output = run(capsys, "check", split)
    assert status == 1 and f"{lost} does not exist" in output


def test_broken_and_odd_sources_of_a_generated_tree_are_named(capsys, tmp_path, generated):
    split = tmp_path / "dev"
    shutil.copytree(generated / "Libri2Mix" / "wav16k" / "min" / "dev", split)
    assert run(capsys, "check", split)[0] == 0
    text, odd = sorted((split / "s2").iterdir())
    text.write_text("no audio")
    num_samples = soundfile.info(odd).frames
    soundfile.write(odd, noise(num_samples), 8000)
    status, output = run(capsys, "check", split)
    assert status == 1 and "headers only" in output
    assert f"{text} cannot be read as audio" in output
    assert f"{odd} has {num_samples} samples at 8000 Hz, but {split / 'mix_clean' / odd.name}" in output


def test_metadata_finds_its_speech_or_asks_for_it(capsys, tmp_path, generated):
    status, output = run(capsys, "check", SAMPLES / "valid.csv")
    assert status == 0
    assert "2, with " in output and "16000 Hz (" in output and "hours " in output and "headers only" in output
    arguments = arguments_of(output, tmp_path)
    assert len(load_mixtures(arguments.mixtures[0], 16000, 2, show_progress=False)) == 2
    status, output = run(capsys, "check", generated / "metadata" / "Libri2Mix" / "libri2mix_dev.csv")
    assert status == 1
    assert "missing     the folder with" in output and "root: FOLDER" in output
    status, output = run(capsys, "check", DEBUG)
    assert status == 1 and "not a LibriMix metadata csv" in output


def test_every_source_and_the_noise_of_metadata_are_looked_for(capsys, tmp_path):
    for name in ("speech/anna/a.wav", "speech/berta/b.wav", "noise/n.wav"):
        (tmp_path / name).parent.mkdir(parents=True)
        soundfile.write(tmp_path / name, noise(16000), 16000)
    row = {"mixture_ID": "m", "source_1_path": "anna/a.wav", "source_1_gain": "1", "source_2_path": "berta/b.wav"}
    row |= {"source_2_gain": "1", "noise_path": "n.wav", "noise_gain": "1"}
    lost = {"mixture_ID": "n", "source_2_path": "berta/lost.wav", "noise_path": "gone.wav"}

    def check(*rows: dict) -> tuple[int, str]:
        with open(tmp_path / "list.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            writer.writeheader()
            writer.writerows(rows)
        return run(capsys, "check", tmp_path / "list.csv")

    status, output = check(row)
    assert status == 0
    assert f"root: {tmp_path / 'speech'}" in output and f"noise_root: {tmp_path / 'noise'}" in output
    status, output = check(row, row | lost)
    assert status == 1
    assert f"{tmp_path / 'speech' / 'berta' / 'lost.wav'} does not exist" in output
    assert f"{tmp_path / 'noise' / 'gone.wav'} does not exist" in output
    status, output = check(row | {"noise_path": "elsewhere.wav"})
    assert status == 1 and "missing     the folder with elsewhere.wav: pass it as `noise_root`" in output
    status, output = check(row | {"source_1_gain": "nan"})
    assert status == 1 and "list.csv, row 2: `source_1_gain` ('nan')" in output and "read it with" not in output


def test_a_saved_dataset_is_described(capsys, tmp_path):
    names = [str(path) for path in sorted(SPEECH.rglob("*.flac"))]
    table = Dataset.from_dict(
        {
            "source_1": names[:3],
            "source_2": names[3:],
            "source_1_speaker": ["a", "b", "c"],
            "mix": names[1:4],
            "text": ["a", "b", "c"],
        }
    )
    DatasetDict({"train": table}).save_to_disk(tmp_path / "set")
    status, output = run(capsys, "check", tmp_path / "set")
    assert status == 0 and "train (3 rows)" in output and "source_1, source_2, source_1_speaker, mix, text" in output
    assert "16000 Hz (9 files)" in output and "headers only" in output
    arguments = arguments_of(output, tmp_path)
    assert (arguments.mixtures[0].source_columns, arguments.mixtures[0].mixture_column) == (
        ["source_1", "source_2"],
        "mix",
    )
    assert len(load_mixtures(arguments.mixtures[0], 16000, 2, show_progress=False)) == 3
    Dataset.from_dict({"source_1": names[:2], "source_2": [names[3], "lost.wav"]}).save_to_disk(tmp_path / "holed")
    status, output = run(capsys, "check", tmp_path / "holed")
    assert status == 1 and "Row 1 of" in output and "lost.wav does not exist" in output
    Dataset.from_dict({"source_1": names[:2], "source_2": names[2:4], "mix": [names[1], "lost.wav"]}).save_to_disk(
        tmp_path / "unmixed"
    )
    status, output = run(capsys, "check", tmp_path / "unmixed")
    assert status == 1 and "Row 1 of" in output and "column 'mix': lost.wav does not exist" in output
    Dataset.from_dict({"voice": names[:2]}).save_to_disk(tmp_path / "unnamed")
    status, output = run(capsys, "check", tmp_path / "unnamed")
    assert status == 1 and "name them as `source_columns`" in output


def test_a_list_holds_the_files_of_the_folder(capsys, tmp_path):
    status, output = run(capsys, "list", SPEECH, "--out", tmp_path / "list.csv")
    assert status == 0 and "6 files" in output
    walked, listed = list_speech(SPEECH), list_speech(SPEECH, tmp_path / "list.csv")
    assert [(file.path, file.speaker) for file in walked] == [(file.path, file.speaker) for file in listed]
    assert all(-50 < file.loudness < -10 for file in listed)
    with open(tmp_path / "list.csv", newline="") as file:
        assert next(csv.DictReader(file))["num_samples"] == "47840"


def test_a_list_that_cannot_be_written_is_said_before_any_listening(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("training.data.__main__.read_listed", None)
    (tmp_path / "file").touch()
    status, output = run(capsys, "list", SPEECH, "--out", tmp_path / "file" / "list.csv")
    assert status == 1 and f"{tmp_path / 'file'} is a file, not a folder" in output
    status, output = run(capsys, "list", SPEECH, "--out", tmp_path)
    assert status == 1 and f"--out is {tmp_path}, a folder" in output


def test_metadata_finds_librispeech_beside_librimix(capsys, tmp_path):
    row = {"mixture_ID": "m", "source_1_path": "dev/1/a.flac", "source_1_gain": "1", "source_2_path": "dev/2/b.flac"}
    folder = tmp_path / "data" / "LibriMix" / "metadata" / "Libri2Mix"
    folder.mkdir(parents=True)
    with open(folder / "list.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, [*row, "source_2_gain"])
        writer.writeheader()
        writer.writerow(row | {"source_2_gain": "1"})
    for name in (row["source_1_path"], row["source_2_path"]):
        path = tmp_path / "data" / "LibriSpeech" / name
        path.parent.mkdir(parents=True)
        soundfile.write(path, noise(16000), 16000)
    status, output = run(capsys, "check", folder / "list.csv")
    assert status == 0 and f"root: {tmp_path / 'data' / 'LibriSpeech'}" in output


def test_a_missing_path_and_bad_options_are_named(capsys, tmp_path):
    assert run(capsys, "check", tmp_path / "nowhere") == (1, f"error: {tmp_path / 'nowhere'} does not exist.\n")
    status, output = run(capsys, "prepare", "--speech", SPEECH, "--out", tmp_path / "out", "--num-mixtures", "0")
    assert status == 1 and "--num-mixtures is 0" in output
    status, output = run(capsys, "prepare", "--speech", tmp_path / "nowhere", "--out", tmp_path / "out")
    assert status == 1 and "nowhere" in output
    assert not (tmp_path / "out").exists()


def test_librispeech_comes_through_torchaudio_with_its_checksums(capsys, tmp_path, monkeypatch):
    """Up to the network call."""
    from torchaudio.datasets import librispeech

    calls = []

    def download(url: str, path: str, hash_prefix: str):
        calls.append((url, hash_prefix))
        folder = Path(path).parent / "LibriSpeech" / "dev-clean" / "84" / "121123"
        folder.mkdir(parents=True)
        Path(path).write_bytes(b"")

    monkeypatch.setattr(librispeech, "_download_url_to_file", download, raising=False)
    monkeypatch.setattr(librispeech, "download_url_to_file", download, raising=False)
    monkeypatch.setattr(librispeech, "_extract_tar", lambda path: None)
    # one that was killed while it unpacked
    (tmp_path / "data" / ".dev-clean" / "LibriSpeech" / "dev-clean" / "half").mkdir(parents=True)
    target = tmp_path / "data" / "LibriSpeech" / "dev-clean"
    for _ in range(2):
        status, output = run(capsys, "prepare", "--librispeech", "dev-clean", "--out", tmp_path / "data")
        assert status == 0 and output.strip() == str(target)
    [(url, checksum)] = calls
    assert url.endswith("dev-clean.tar.gz") and len(checksum) == 64
    assert [path.name for path in target.iterdir()] == ["84"]
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["LibriSpeech"]


def test_a_download_of_another_file_is_reported(capsys, tmp_path, monkeypatch):
    def download(*arguments, **options):
        raise RuntimeError("invalid hash value")

    monkeypatch.setattr("torchaudio.datasets.LIBRISPEECH", download)
    status, output = run(capsys, "prepare", "--librispeech", "dev-clean", "--out", tmp_path)
    assert status == 1 and output == "error: dev-clean could not be downloaded: invalid hash value\n"
    assert not (tmp_path / "LibriSpeech").exists()
