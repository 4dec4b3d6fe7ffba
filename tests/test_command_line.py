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
import subprocess
import sys

import pytest
import shtab
import soundfile
from transformers.utils import logging

from audioslots_hf import command_separate, load_separator, load_voice_encoder
from audioslots_hf.cli import main
from audioslots_hf.command_line import FILES, FOLDERS, one_of, parse_model, report_failures, suggest
from audioslots_hf.shipped import CHECKPOINTS_DIR, DEFAULT_CHECKPOINT, list_checkpoints
from tests.cli_helpers import NUM_SAMPLES, RATE, files_in, write


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["seperate", "a.wav"], "there is no command 'seperate': did you mean 'separate'?"),
        (["xyz"], "there is no command 'xyz': the commands are separate, models,"),
        (["separate", "a.wav", "--modle", "galr-small"], "there is no option --modle: did you mean '--model'?"),
        (
            ["separate", "a.wav", "--skip-exisitng"],
            "there is no option --skip-exisitng: did you mean '--skip-existing'?",
        ),
        (["separate", "a.wav", "--ouput=here"], "there is no option --ouput: did you mean '--output'?"),
        (
            ["info", "--model", "galr-small"],
            "there is no option --model: name the model without it, as in `audioslots info MODEL`",
        ),
        (["info", "galr-smal"], "'galr-smal' is neither a shipped checkpoint, nor a folder"),
        (["info", "galr-smal"], "did you mean 'galr-small'?"),
        (["separate", "a.wav", "--device", "cdua"], "'cdua' is no device: did you mean 'cuda'?"),
        (["separate", "a.wav", "--num-speakers", "two"], "'two' is neither a whole number nor auto"),
        (["info", "runs/galr/last"], "Shipped are audioslots-small, galr-small."),
    ],
)
def test_a_mistyped_word_ends_the_command_with_the_nearest_one(capsys, arguments, message):
    with pytest.raises(SystemExit) as info:
        main(arguments)
    assert info.value.code == 2 and message in capsys.readouterr().err


def test_inputs_that_do_not_exist_are_named_before_the_model_is_loaded(separate, tmp_path, monkeypatch):
    write(tmp_path / "interview.wav")
    monkeypatch.setattr(command_separate, "_load_separator", None)
    status, _, errors = separate(tmp_path / "interveiw.wav", tmp_path / "b.wav")
    line = f"{tmp_path}/interveiw.wav does not exist: did you mean 'interview.wav'? None of the 2 inputs exists.\n"
    assert status == 1 and errors == f"audioslots: error: {line}"


def test_a_model_is_a_shipped_name_a_folder_or_a_name_on_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    for word in (DEFAULT_CHECKPOINT, "mine", str(tmp_path), "user/name"):
        assert parse_model(word) == word


def test_names_of_an_option_are_taken_in_any_case():
    assert one_of(["wav", "flac"])("FLAC") == "flac" and suggest("flak", ["wav", "flac"]) == ": did you mean 'flac'?"


def test_models_lists_the_default_first_with_the_use_of_each(capsys):
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(list_checkpoints()) and lines[0].startswith(DEFAULT_CHECKPOINT)
    assert lines[0].endswith("16 kHz   a small GALR that separates two voices (the default)")
    assert main(["models", "--json"]) == 0
    models = json.loads(capsys.readouterr().out)
    assert {model["name"] for model in models} == set(list_checkpoints()) and all(model["use"] for model in models)
    weights = CHECKPOINTS_DIR / DEFAULT_CHECKPOINT / "model.safetensors"
    assert models[0]["num_parameters"] == 1203777 and models[0]["size_bytes"] == weights.stat().st_size


def test_json_prints_a_line_for_each_recording_and_one_for_the_run(separate, tmp_path):
    paths = [write(tmp_path / name) for name in ("a.wav", "b.wav")]
    (tmp_path / "c.wav").write_text("A text")
    assert separate(paths[0])[0] == 0
    status, output, errors = separate(*paths, tmp_path / "c.wav", "--skip-existing", "--json")
    *results, summary = map(json.loads, output.splitlines())
    assert status == 1 and [result["status"] for result in results] == ["skipped", "separated", "failed"]
    assert [result["recording"] for result in results] == [
        str(tmp_path / name) for name in ("a.wav", "b.wav", "c.wav")
    ]
    assert results[1]["files"] == [str(tmp_path / "out" / f"b_source_{index}.wav") for index in range(2)]
    assert results[1]["duration_s"] == pytest.approx(NUM_SAMPLES / RATE, abs=1e-3)
    assert "cannot be read as audio" in results[2]["error"] and "1 of 3 files failed" in errors
    assert {key: summary[key] for key in ("num_separated", "num_skipped", "num_failed")} == {
        "num_separated": 1,
        "num_skipped": 1,
        "num_failed": 1,
    }
    assert summary["speed"] == pytest.approx(summary["duration_s"] / summary["elapsed_s"], rel=0.1)


def test_a_run_that_separates_nothing_says_so(separate, tmp_path):
    path, text = write(tmp_path / "a.wav"), tmp_path / "b.wav"
    text.write_text("A text")
    assert separate(path)[0] == 0
    _, _, errors = separate(path, text, "--skip-existing")
    assert "\nno file was separated; 1 skipped, 1 failed\n" in errors


@pytest.mark.parametrize(
    "arguments, status, message",
    [
        (["separate", "nowhere.wav"], 1, "nowhere.wav does not exist."),
        (["separate", "a.wav", "--batch-size", "0"], 1, "`--batch-size` is 0: it must be at least 1."),
        (["evaluate", "--estimates", "nowhere", "--references", "nowhere"], 1, "nowhere"),
        (["separate", "a.wav", "--modle", "x"], 2, "there is no option --modle: did you mean '--model'?"),
        (["seperate", "a.wav"], 2, "there is no command 'seperate': did you mean 'separate'?"),
        (["publish", DEFAULT_CHECKPOINT, "--repo-id", "a/b", "--dry-run"], 2, "`--dry-run` writes the repository"),
    ],
)
def test_json_also_prints_the_error_that_ends_a_run(tmp_path, monkeypatch, capsys, arguments, status, message):
    monkeypatch.chdir(tmp_path)
    try:
        assert main([*arguments, "--json"]) == status
    except SystemExit as error:
        assert error.code == status
    output, errors = capsys.readouterr()
    result = json.loads(output)
    assert result == {"status": "error", "error": result["error"]} and message in result["error"]
    assert errors.endswith(f"error: {result['error']}\n")


def test_a_failure_names_its_file_once(capsys):
    failures = [
        ("a.wav", "a.wav is silent."),
        ("a.wav", "The tracks of a.wav are lost."),
        ("a.wav", "out/a.wav is full."),
    ]
    assert report_failures(failures, 5, "files") == 1
    *lines, last = capsys.readouterr().err.splitlines()[2:]
    assert lines == ["  a.wav is silent.", "  The tracks of a.wav are lost."] and last == "  a.wav: out/a.wav is full."


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
def test_a_reader_that_ends_first_ends_the_command_silently():
    code = "import sys; from _audioslots_command import main; sys.exit(main(['models']))"
    script = f'{{ sleep 0.2; {sys.executable} -c "{code}"; echo $? >&2; }} | true'
    process = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert process.stderr.splitlines()[-1] == "141" and "rror" not in process.stderr


def test_a_run_ends_with_a_summary_unless_it_is_quiet(separate, tmp_path):
    path = write(tmp_path / "a.wav")
    _, output, errors = separate(path)
    assert errors.splitlines()[-1].startswith("1 file, 0.4 seconds of audio, ") and len(output.splitlines()) == 2
    assert separate(path, "--force", "--quiet") == (0, "", "")
    status, output, errors = separate(path, "--quiet")
    assert status == 1 and output == "" and "a_source_0.wav exists" in errors


def test_loading_shows_no_bar_and_leaves_those_of_others(checkpoint, capsys):
    assert logging.is_progress_bar_enabled()
    load_separator(checkpoint, device="cpu")
    load_voice_encoder()
    assert capsys.readouterr().err == "" and logging.is_progress_bar_enabled()


def test_the_default_output_is_a_folder_beside_the_caller(checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.wav")
    for _ in range(2):
        # the tracks of the first run are no input of the second
        assert (
            main(
                [
                    "separate",
                    ".",
                    "--force",
                    "--model",
                    str(checkpoint),
                    "--device",
                    "cpu",
                    "--num-speakers",
                    "outputs",
                ]
            )
            == 0
        )
    assert files_in(tmp_path) == ["a.wav", "separated/a_source_0.wav", "separated/a_source_1.wav"]


@pytest.mark.parametrize(
    "name, subtype, expected",
    [
        ("flac", "FLOAT", (".flac", "FLAC", "PCM_24")),
        ("flac", "PCM_16", (".flac", "FLAC", "PCM_16")),
        ("wav", "PCM_24", (".wav", "WAV", "PCM_24")),
        ("mp3", "PCM_16", (".mp3", "MP3", "MPEG_LAYER_III")),
        ("opus", "PCM_16", (".opus", "OGG", "OPUS")),
    ],
)
def test_tracks_have_the_format_that_is_asked_for(separate, tmp_path, name, subtype, expected):
    path = write(tmp_path / "a.wav", subtype=subtype)
    status, output, _ = separate(path, "--format", name)
    tracks = [tmp_path / "out" / f"a_source_{index}{expected[0]}" for index in range(2)]
    assert status == 0 and output.splitlines() == [str(track) for track in tracks]
    info = soundfile.info(tracks[0])
    assert (info.format, info.subtype, info.frames) == (*expected[1:], NUM_SAMPLES)


def test_a_format_that_cannot_hold_a_recording_is_named(separate, tmp_path):
    status, _, errors = separate(write(tmp_path / "a.wav", rate=11111), "--format", "opus")
    assert status == 1 and "a.wav has 11111 Hz and 1 channels, which opus does not support" in errors
    with pytest.raises(SystemExit):
        separate(tmp_path / "a.wav", "--format", "flca")


@pytest.mark.parametrize(
    "words, expected",
    [
        ("sep", {"separate"}),
        ("separate --form", {"--format"}),
        ("separate --format f", {"flac"}),
        ("info galr", {"galr-small"}),
        ("separate --model audio", {"audioslots-small"}),
        ("separate --output fol", {"folder"}),
    ],
)
def test_bash_completes_commands_options_models_and_folders(tmp_path, capsys, words, expected):
    (tmp_path / "folder").mkdir()
    assert main(["completion", "bash"]) == 0
    words = ["audioslots", *words.split()]
    ask = f"COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; _shtab_audioslots; echo ${{COMPREPLY[@]}}"
    script = f"{capsys.readouterr().out}\n{ask}"
    process = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert set(process.stdout.split()) == expected


@pytest.mark.parametrize("shell, mark", [("zsh", "#compdef audioslots"), ("tcsh", "complete audioslots")])
def test_other_shells_get_scripts_of_their_own(capsys, shell, mark):
    assert main(["completion", shell]) == 0
    assert mark in capsys.readouterr().out


def test_the_names_of_functions_are_those_of_shtab():
    assert FILES.items() <= shtab.FILE.items() and FOLDERS.items() <= shtab.DIRECTORY.items()


def test_completion_without_shtab_names_the_extra(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 1
    assert "Completion needs shtab: pip install 'audioslots-hf[completion]'" in capsys.readouterr().err
