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

import errno
import json
import shutil
import signal

import pytest
import soundfile
from huggingface_hub import HfApi, constants

from audioslots_hf import publishing, publishing_check, separation
from audioslots_hf.cli import main
from audioslots_hf.shipped import CHECKPOINTS_DIR, DEFAULT_CHECKPOINT
from tests.audio_helpers import noise
from tests.cli_helpers import files_in
from tests.loopback_hub import TOKEN, USER, start_publish


REPO_ID = f"{USER}/tiny"
FACTS = "license: mit\ndata:\n- {name: noise, license: CC0-1.0}\nsample: The mixture is noise.\n"


@pytest.fixture
def model(checkpoint, tmp_path):
    """A folder with a tiny model and its facts."""
    folder = shutil.copytree(checkpoint, tmp_path / "model")
    (folder / "card.yaml").write_text(FACTS)
    # shorter than the sample of the package
    (folder / "samples").mkdir()
    soundfile.write(folder / "samples" / "mixture.flac", noise(2000), 8000)
    (folder / "samples" / "NOTICE").write_text("noise")
    return folder


@pytest.fixture
def quick(monkeypatch):
    """Leave out the check in another process, which loads torch, and the picture; slow tests have both."""
    monkeypatch.setattr(publishing_check, "check_apart", lambda *arguments: None)
    monkeypatch.setattr(separation, "plot_separation", lambda path, *arguments: path.write_bytes(b"\x89PNG\0"))


@pytest.fixture
def publish(model, capsys):
    """Run `audioslots publish` -> exit status, stdout and stderr."""

    def run(*arguments, model=model) -> tuple[int, str, str]:
        status = main(["publish", str(model), "--repo-id", REPO_ID, *map(str, arguments)])
        return status, *capsys.readouterr()

    return run


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--repo-id", "tiny"], "--repo-id: 'tiny' is no USER/NAME"),
        (["--repo-id", "a/b/c"], "--repo-id: 'a/b/c' is no"),
        (["--repo-id", "a/b--c"], "--repo-id: 'a/b--c' is no"),
        (["--dry-run"], "name it with `--output`"),
        (["--output", "out"], "belongs to `--dry-run`"),
        (["--dry-run", "--output", "."], "`--output` is ., which exists"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_any_work(publish, monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(publishing, "check_source", None)
    with pytest.raises(SystemExit) as end:
        publish(*arguments)
    assert end.value.code == 2 and message in " ".join(capsys.readouterr().err.split())


def test_a_model_that_does_not_exist_is_refused_with_the_nearest_name(publish, capsys):
    with pytest.raises(SystemExit):
        publish(model=f"{DEFAULT_CHECKPOINT}x")
    assert f"did you mean {DEFAULT_CHECKPOINT!r}?" in " ".join(capsys.readouterr().err.split())


def test_a_model_without_facts_or_with_the_scores_of_another_is_refused(publish, model, tmp_path):
    (model / "card.yaml").unlink()
    assert "card.yaml is missing, which states the licence" in publish()[2]
    (model / "card.yaml").write_text(FACTS)
    shutil.copy(CHECKPOINTS_DIR / DEFAULT_CHECKPOINT / "results.json", model)
    assert "results.json holds scores of other weights" in publish()[2]
    (model / "results.json").unlink()
    (model / "card.yaml").write_text(FACTS.replace("sample: The mixture is noise.", ""))
    assert "card.yaml lacks 'sample'" in publish()[2]
    assert "holds no model: config.json is missing" in publish(model=tmp_path)[2]


def test_a_published_model_is_one_commit_with_all_that_opens_it(publish, hub, quick, model):
    before = {path: path.read_bytes() for path in model.rglob("*") if path.is_file()}
    status, output, error = publish()
    assert status == 0 and output == f"{hub.endpoint}/{REPO_ID}\n" and "The Hub finds the card valid." in error
    assert "Writing model shards" not in error and "Loading weights" not in error
    files = HfApi(endpoint=hub.endpoint).list_repo_files(REPO_ID)
    assert len(hub.repositories[REPO_ID].commits) == 2 and sorted(files) == hub.list(REPO_ID)
    assert b"The mixture is noise." in hub.read(REPO_ID, "README.md")
    samples = ["NOTICE", "mixture.flac", "mixture_separation.png", "mixture_source_0.flac", "mixture_source_1.flac"]
    named = ["README.md", "card.yaml", "config.json", "model.safetensors", "pipeline_audio_separation.py"]
    assert {
        *named,
        "preprocessor_config.json",
        "modeling_audioslots.py",
        *(f"samples/{name}" for name in samples),
    } <= {*files}
    config = json.loads(hub.read(REPO_ID, "config.json"))
    assert set(config["auto_map"]) == {"AutoConfig", "AutoModel"} and "audio-to-audio" in config["custom_pipelines"]
    # byte for byte, in the storage for large files
    assert hub.read(REPO_ID, "model.safetensors") == (model / "model.safetensors").read_bytes()
    assert {"model.safetensors", "samples/mixture.flac"} <= set(hub.repositories[REPO_ID].lfs)
    # nothing of this machine, and nothing in the folder of the model
    for name in files:
        assert str(model.parent).encode() not in hub.read(REPO_ID, name), name
    assert before == {path: path.read_bytes() for path in model.rglob("*") if path.is_file()}


def test_a_repository_that_was_downloaded_can_be_published_again(publish, hub, quick, tmp_path):
    assert publish()[0] == 0
    first = {name: hub.read(REPO_ID, name) for name in hub.list(REPO_ID)}
    for name, content in first.items():
        path = tmp_path / "downloaded" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert publish(model=tmp_path / "downloaded")[0] == 0
    assert {name: hub.read(REPO_ID, name) for name in hub.list(REPO_ID)} == first


def test_a_second_version_leaves_no_file_of_the_first_and_other_files_alone(publish, hub, quick, model):
    assert publish()[0] == 0
    repository = hub.repositories[REPO_ID]
    repository.files |= {
        "modeling_dprnn.py": b"",
        "handler.py": b"",
        "samples/old.flac": b"",
        "onnx/model.onnx": b"",
        "results.json": b"{}",
    }
    (model / "card.yaml").write_text(FACTS + "title: another title\n")
    assert publish()[0] == 0
    names = hub.list(REPO_ID)
    assert not {"modeling_dprnn.py", "samples/old.flac", "results.json"} & {*names} and {
        "onnx/model.onnx",
        "handler.py",
    } <= {*names}
    assert b"another title" in hub.read(REPO_ID, "README.md") and len(repository.commits) == 3


def test_a_private_model_stays_private_and_a_public_one_is_not_taken_for_private(publish, hub, quick):
    assert publish("--private")[0] == 0 and hub.repositories[REPO_ID].private
    hub.repositories[REPO_ID].private = False
    commits = list(hub.repositories[REPO_ID].commits)
    status, _, error = publish("--private")
    assert status == 1 and f"{REPO_ID} exists and is public" in error
    assert hub.repositories[REPO_ID].commits == commits


def test_an_upload_that_is_cut_off_shows_nothing_and_the_same_command_completes_it(publish, hub, quick):
    hub.failure = "drop"
    status, output, error = publish()
    assert status == 1 and not output and "cannot be reached" in error
    assert error.splitlines()[-1].endswith("Nothing of this upload is visible: run the same command again.")
    assert hub.list(REPO_ID) == [".gitattributes"]
    hub.failure = None
    assert publish()[0] == 0 and "model.safetensors" in hub.list(REPO_ID)


@pytest.mark.slow
def test_an_upload_that_is_killed_shows_nothing_and_the_same_command_completes_it(
    publish, hub, quick, model, tmp_path
):
    hub.failure = "stall"
    process = start_publish(hub, str(model), REPO_ID, TMPDIR=str(tmp_path))
    while not hub.is_stalled.wait(0.1):
        assert process.poll() is None, process.stderr.read()
    process.kill()
    output, _ = process.communicate()
    hub.failure = None
    hub.resume.set()
    assert process.returncode == -signal.SIGKILL and not output
    assert hub.list(REPO_ID) == [".gitattributes"]
    assert publish()[0] == 0 and "model.safetensors" in hub.list(REPO_ID)


def test_errors_of_the_hub_are_one_sentence_each_and_nothing_is_uploaded(publish, hub, quick, monkeypatch, capsys):
    def last_line(*arguments) -> str:
        status, output, error = publish(*arguments)
        assert status == 1 and not output and "Traceback" not in error
        return error.splitlines()[-1]

    hub.failure = 507
    assert "The Hub has no space for the files" in last_line()
    assert hub.list(REPO_ID) == [".gitattributes"]
    assert "The token may not write to other/tiny" in last_line("--repo-id", "other/tiny")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert "The Hub refuses the token" in last_line()
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.hf_api.get_token", lambda: None)
    assert "There is no token of the Hub: run `hf auth login`" in last_line()
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.undo()


def test_without_a_network_nothing_is_done_but_a_dry_run(publish, quick, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in publish()[2]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    # nobody listens there
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    status, output, error = publish()
    assert status == 1 and not output
    assert "The Hub at http://127.0.0.1:9 cannot be reached" in error and error.count("\n") == 1
    status, output, error = publish("--dry-run", "--output", tmp_path / "new" / "out")
    assert status == 0 and output == f"{tmp_path / 'new' / 'out'}\n" and "The card was not validated" in error
    assert {"README.md", "samples/mixture_source_1.flac"} <= set(files_in(tmp_path / "new" / "out"))


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_called_so_and_leaves_nothing(publish, hub, quick, monkeypatch, tmp_path, error):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(publishing.shutil, "copyfile", fail)
    status, output, printed = publish()
    assert status == 1 and not output and hub.repositories == {}
    assert "is full: free some space, or choose another disk by `--output` or TMPDIR." in printed.splitlines()[-1]
    monkeypatch.undo()


def test_a_card_that_the_hub_finds_invalid_is_not_uploaded(publish, hub, quick, model):
    (model / "card.yaml").write_text(FACTS.replace("mit", "My own licence"))
    status, _, error = publish()
    assert status == 1 and "The Hub finds the card invalid: " in error and '"license" must be' in error
    assert hub.repositories == {}
