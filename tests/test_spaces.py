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
import tomllib
from pathlib import Path

import gradio
import pytest
from huggingface_hub import SpaceCard

from audioslots_hf import spaces
from audioslots_hf.cli import main
from audioslots_hf.shipped import DEFAULT_CHECKPOINT
from tests.loopback_hub import USER


ROOT = Path(__file__).parents[1]
PACKAGE = Path(spaces.__file__).parent
REPO_ID = f"{USER}/page"


@pytest.fixture
def publish(capsys, monkeypatch):
    """Run `audioslots publish --space` without the check that starts the page -> exit status, stdout and stderr."""
    monkeypatch.setattr(spaces, "check_space", lambda folder: None)

    def run(*arguments) -> tuple[int, str, str]:
        status = main(["publish", "--space", REPO_ID, *map(str, arguments)])
        return status, *capsys.readouterr()

    return run


def test_a_published_space_is_one_commit_with_the_page_its_card_and_the_package(publish, hub):
    status, output, error = publish()
    assert status == 0 and output == f"{hub.endpoint}/spaces/{REPO_ID}\n" and "The Hub finds the card valid." in error
    repository, names = hub.repositories[f"spaces/{REPO_ID}"], set(hub.list(f"spaces/{REPO_ID}"))
    assert len(repository.commits) == 2
    read = {name: hub.read(f"spaces/{REPO_ID}", name) for name in names}
    package = {name.partition("/")[2] for name in names if name.startswith("audioslots_hf/")}
    assert names - {f"audioslots_hf/{name}" for name in package} == {
        ".gitattributes",
        "README.md",
        "app.py",
        "requirements.txt",
    }
    assert {"py.typed", "report.html", f"checkpoints/{DEFAULT_CHECKPOINT}/model.safetensors"} <= package
    assert not [name for name in package if "__pycache__" in name]
    assert all(read[f"audioslots_hf/{name}"] == (PACKAGE / name).read_bytes() for name in package)
    compile(read["app.py"], "app.py", "exec")
    card = SpaceCard(read["README.md"].decode()).data
    assert (card.sdk, card.sdk_version, card.app_file) == ("gradio", gradio.__version__, "app.py")
    assert (card.license, card.models, card.python_version) == ("apache-2.0", None, "3.11")


def test_a_space_requires_what_the_package_requires_and_pictures():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    index, *requirements = spaces.REQUIREMENTS.split("\n")[:-1]
    assert index.startswith("--extra-index-url ") and requirements == [*project["dependencies"], "matplotlib"]
    assert project["requires-python"] == f">={spaces.PYTHON_VERSION}"


def test_a_second_upload_shows_another_model_and_leaves_other_files_alone(publish, hub):
    assert publish()[0] == 0
    repository = hub.repositories[f"spaces/{REPO_ID}"]
    repository.files |= {"audioslots_hf/modeling_old.py": b"", "mine.txt": b""}
    assert publish("somebody/tiny")[0] == 0
    names = hub.list(f"spaces/{REPO_ID}")
    assert "mine.txt" in names and "audioslots_hf/modeling_old.py" not in names and len(repository.commits) == 3
    assert SpaceCard(hub.read(f"spaces/{REPO_ID}", "README.md").decode()).data.models == ["somebody/tiny"]
    assert b"build_demo('somebody/tiny')" in hub.read(f"spaces/{REPO_ID}", "app.py")


def test_a_private_space_stays_private(publish, hub):
    assert publish("--private")[0] == 0 and hub.repositories[f"spaces/{REPO_ID}"].private
    hub.repositories[f"spaces/{REPO_ID}"].private = False
    status, _, error = publish("--private")
    assert status == 1 and f"{REPO_ID} exists and is public" in error


def test_a_dry_run_writes_the_space_and_uploads_nothing(publish, hub, tmp_path):
    status, output, _ = publish("--dry-run", "--output", tmp_path / "page")
    assert status == 0 and output == f"{tmp_path / 'page'}\n" and hub.repositories == {}
    assert {path.name for path in (tmp_path / "page").iterdir()} == {
        "README.md",
        "app.py",
        "audioslots_hf",
        "requirements.txt",
    }


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--space", "page"], "--space: 'page' is no USER/NAME"),
        (["--space", REPO_ID, "--repo-id", REPO_ID], "not allowed with argument --space"),
        ([DEFAULT_CHECKPOINT], "one of the arguments --repo-id --space is required"),
        (["--repo-id", REPO_ID], "`--repo-id` publishes a model: name its folder"),
        (
            ["--space", REPO_ID, "mine"],
            "'mine' is a folder, which a Space cannot read: publish it by `--repo-id` first",
        ),
        (["--space", REPO_ID, "galr-smal"], "did you mean 'galr-small'?"),
    ],
)
def test_words_that_make_no_sense_are_refused_before_any_work(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    with pytest.raises(SystemExit) as end:
        main(["publish", *arguments])
    assert end.value.code == 2 and message in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_a_space_whose_page_does_not_start_is_not_uploaded(hub, tmp_path, capsys):
    assert main(["publish", "--space", REPO_ID, "somebody/absent"]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert "The page of the Space does not start: The model 'somebody/absent' cannot be loaded" in error
    assert hub.repositories == {}
    assert main(["publish", "--space", REPO_ID, "--dry-run", "--output", str(tmp_path / "page")]) == 0
    assert "The page starts with the files of the Space alone." in capsys.readouterr().err
