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
"""Publishing: the folder of a repository on the Hub, its checks, and its upload in one commit."""

import hashlib
import shutil
from fnmatch import fnmatch
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, RepoCard, constants
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from .card_results import CONVERSATIONS_NAME, RESULTS_NAME, check_weights
from .cards import FACTS_NAME, MIXTURE_NAME, SAMPLES_NAME, load_facts, make_card
from .hub_errors import asking_hub, explaining_full_disks
from .jobs import OutputChoices, SeparationJob
from .loading import hiding_bars, load_separator
from .separation import separate_file
from .voice_encoders import DEFAULT_VOICE_ENCODER, VOICES_DIR


PACKAGED_SAMPLES = Path(__file__).parent / SAMPLES_NAME
PACKAGED_MIXTURE = "two_voices.flac"
NOTICE_NAME = "NOTICE"
SAMPLE_TEXT = (
    f"The mixture holds an English and a Russian reader at once. [`{SAMPLES_NAME}/{NOTICE_NAME}`]({SAMPLES_NAME}/{NOTICE_NAME}) states "
    "where their recordings come from, and their licences."
)
# files that an earlier version of the model may have left in the repository
STALE = [
    "model*.safetensors",
    SAFE_WEIGHTS_INDEX_NAME,
    f"{SAMPLES_NAME}/*",
    "voices/*",
    RESULTS_NAME,
    CONVERSATIONS_NAME,
]


def check_source(source: Path) -> None:
    """
    Check all that needs no model: the facts, the results, and that they are of these weights.

    Raises:
        `ValueError`: with the fault.
    """
    if not (source / "config.json").is_file():
        raise ValueError(f"{source} holds no model: config.json is missing.")
    facts = load_facts(source)
    check_weights(source, hash_weights(source))
    if _find_mixture(source).is_relative_to(source) and not _is_packaged(source) and not facts.sample:
        raise ValueError(
            f"{source / FACTS_NAME} lacks 'sample': state there who speaks in {SAMPLES_NAME}/{MIXTURE_NAME}, and its licence."
        )


def hash_weights(folder: Path) -> str:
    """The sha256 of the weights, of several files in the order of their names."""
    digest = hashlib.sha256()
    for path in _list_weights(folder):
        with open(path, "rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    return digest.hexdigest()


def _list_weights(folder: Path) -> list[Path]:
    """The files of the weights: one, or the parts of an index."""
    single = folder / SAFE_WEIGHTS_NAME
    paths = [single] if single.is_file() else sorted(folder.glob("model-*.safetensors"))
    if not paths:
        raise ValueError(f"{folder} holds no {SAFE_WEIGHTS_NAME}: save the model with its `save_pretrained`.")
    return paths


def stage(source: Path, repo_id: str, folder: Path) -> None:
    """
    Write the folder of a repository.

    Args:
        source (`Path`):
            Folder of the model, which is only read.
        repo_id (`str`):
            Repository on the Hub, `user/name`.
        folder (`Path`):
            Receives all files: weights as they are, configurations, code, card, results, and the sample with its tracks.

    Raises:
        `ValueError`, `OSError`: the model cannot be loaded or cannot separate, or the disk is full.
    """
    with explaining_full_disks(folder):
        # the pipeline writes the code and the configurations; the weights are copied, so that their checksum stays
        pipeline = load_separator(source, device="cpu")
        with hiding_bars():
            pipeline.save_pretrained(folder)
        for path in _list_weights(folder):
            path.unlink()
        (folder / SAFE_WEIGHTS_INDEX_NAME).unlink(missing_ok=True)
        for path in [*_list_weights(source), *source.glob(SAFE_WEIGHTS_INDEX_NAME)]:
            shutil.copyfile(path, folder / path.name)
        for name in (FACTS_NAME, RESULTS_NAME, CONVERSATIONS_NAME):
            if (source / name).is_file():
                shutil.copyfile(source / name, folder / name)
        # for conversations
        shutil.copytree(VOICES_DIR / DEFAULT_VOICE_ENCODER, folder / VOICES_DIR.name / DEFAULT_VOICE_ENCODER)
        samples = folder / SAMPLES_NAME
        samples.mkdir()
        mixture = _find_mixture(source)
        for path, name in ((mixture, MIXTURE_NAME), (mixture.with_name(NOTICE_NAME), NOTICE_NAME)):
            if path.is_file():
                shutil.copyfile(path, samples / name)
        separate_file(SeparationJob(samples / MIXTURE_NAME, samples), pipeline.separator, OutputChoices(plot=True))
        card = make_card(
            folder,
            repo_id.split("/")[-1],
            pipeline.model,
            hash_weights(folder),
            repo_id,
            sample=SAMPLE_TEXT if _is_packaged(source) else "",
        )
        (folder / "README.md").write_text(f"{card}\n", encoding="utf-8")


def _find_mixture(source: Path) -> Path:
    """The sample among the files of a model, or else the one of the package."""
    own = source / SAMPLES_NAME / MIXTURE_NAME
    return own if own.is_file() else PACKAGED_SAMPLES / PACKAGED_MIXTURE


def _is_packaged(source: Path) -> bool:
    """Whether the sample is the one of the package, which a repository that was downloaded also has."""
    return _find_mixture(source).read_bytes() == (PACKAGED_SAMPLES / PACKAGED_MIXTURE).read_bytes()


def validate_card(folder: Path, repo_type: str = "model") -> None:
    """
    Have the Hub validate the card of a folder, which will be a repository of this type.

    Raises:
        `ValueError`: the card is invalid. `OSError`: the Hub cannot be asked.
    """
    card = RepoCard.load(folder / "README.md", repo_type=repo_type)
    try:
        with asking_hub():
            card.validate(repo_type=repo_type)
    except ValueError as error:
        raise ValueError(f"The Hub finds the card invalid: {' '.join(str(error).split())}") from error


def check_access() -> None:
    """
    Ask the Hub who the owner of the token is.

    Raises:
        `OSError`: there is no valid token, or the Hub cannot be reached.
    """
    with asking_hub():
        HfApi().whoami()


def upload(folder: Path, repo_id: str, private: bool, repo_type: str = "model") -> str:
    """
    Create the repository if there is none, and upload a folder in one commit -> the address of the repository.

    Args:
        folder (`Path`):
            The folder that [`stage`] or [`~spaces.write_space`] wrote.
        repo_id (`str`):
            Repository on the Hub, `user/name`.
        private (`bool`):
            Whether only its owner may see it.
        repo_type (`str`, *optional*, defaults to `"model"`):
            Or `"space"`.

    Raises:
        `ValueError`: the repository is public, and it must be private.
        `OSError`: the upload failed. Then nothing of it is visible, and a second upload sends what is missing.
    """
    api = HfApi()
    with asking_hub(repo_id):
        sdk = "gradio" if repo_type == "space" else None
        api.create_repo(repo_id, private=private, repo_type=repo_type, exist_ok=True, space_sdk=sdk)
        if private and not api.repo_info(repo_id, repo_type=repo_type).private:
            raise ValueError(f"{repo_id} exists and is public: make it private first, or leave `--private` out.")
        files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
        stale = [name for name in api.list_repo_files(repo_id, repo_type=repo_type) if _is_ours(name, repo_type)]
        # not `upload_folder`, which may divide the files among several commits
        api.create_commit(
            repo_id,
            [
                *(CommitOperationDelete(name) for name in stale if name not in files),
                *(CommitOperationAdd(name, path) for name, path in files.items()),
            ],
            commit_message=f"Publish {repo_id.split('/')[-1]}",
            repo_type=repo_type,
        )
    return f"{constants.ENDPOINT}/{'spaces/' if repo_type == 'space' else ''}{repo_id}"


def _is_ours(name: str, repo_type: str) -> bool:
    """Whether a file of a repository is one that this command writes: others stay, such as a handler of an inference endpoint."""
    if repo_type == "space":
        return name.startswith(f"{Path(__file__).parent.name}/")
    is_module = "/" not in name and name.endswith(".py") and (Path(__file__).parent / name).is_file()
    return is_module or any(fnmatch(name, pattern) for pattern in STALE)


def make_snapshot(folder: Path, repo_id: str) -> Path:
    """
    Make an empty folder that transformers will find as a repository in a cache.

    Args:
        folder (`Path`):
            The cache.
        repo_id (`str`):
            Repository on the Hub, `user/name`.
    """
    revision = "0" * 40
    repository = folder / f"models--{repo_id.replace('/', '--')}"
    snapshot = repository / "snapshots" / revision
    with explaining_full_disks(folder):
        snapshot.mkdir(parents=True)
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text(revision, encoding="utf-8")
    return snapshot


__all__ = [
    "check_access",
    "check_source",
    "hash_weights",
    "make_snapshot",
    "stage",
    "upload",
    "validate_card",
]
