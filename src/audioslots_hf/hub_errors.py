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
"""Failures of the Hub and of full disks, in one sentence each."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled


# huggingface_hub has had several HTTP libraries
HTTP_LIBRARIES = ("httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3")
AGAIN = "Nothing of this upload is visible: run the same command again."


@contextmanager
def asking_hub(repo_id: str | None = None) -> Iterator[None]:
    """
    Turn errors of the Hub and of the network into an `OSError` with one sentence.

    Args:
        repo_id (`str`, *optional*):
            The repository that an upload goes to.
    """
    try:
        yield
    except Exception as error:
        # an invalid card, or a fault that we name ourselves
        if type(error) is ValueError:
            raise
        sentence = _explain(list(_list_causes(error)), repo_id)
        if sentence is None:
            raise
        raise OSError(f"{sentence} {AGAIN}" if repo_id else sentence) from error


@contextmanager
def explaining_full_disks(folder: Path) -> Iterator[None]:
    """Turn the errors of a full disk into an `OSError` that names the folder."""
    try:
        yield
    except Exception as error:
        # safetensors has an error of its own
        if any(
            getattr(cause, "errno", None) == errno.ENOSPC or "No space left on device" in str(cause)
            for cause in _list_causes(error)
        ):
            raise OSError(
                f"The disk that holds {folder} is full: free some space, or choose another disk by `--output` or TMPDIR."
            ) from error
        raise


def _list_causes(error: BaseException) -> Iterator[BaseException]:
    """An error, and those that led to it."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _explain(causes: list[BaseException], repo_id: str | None) -> str | None:
    """A sentence about an error of the Hub or of the network, `None` for any other error."""
    for cause in causes:
        if isinstance(cause, OfflineModeIsEnabled):
            return "HF_HUB_OFFLINE is set and forbids all traffic with the Hub; unset it."
        if isinstance(cause, LocalTokenNotFoundError):
            return "There is no token of the Hub: run `hf auth login`, or set HF_TOKEN to a token that may write."
        if isinstance(cause, HfHubHTTPError) and cause.response is not None:
            return _explain_status(cause, repo_id)
    for cause in causes:
        is_network = type(cause).__module__.partition(".")[0] in HTTP_LIBRARIES
        if is_network or isinstance(cause, ConnectionError | TimeoutError):
            return f"The Hub at {constants.ENDPOINT} cannot be reached ({_first_line(cause)}): check the network."
    return None


def _explain_status(error: HfHubHTTPError, repo_id: str | None) -> str:
    """A sentence about an answer of the Hub."""
    status = error.response.status_code
    said = " ".join(str(error.server_message or "").split())
    quoted = f" ({said})" if said else ""
    if status == 401:
        return (
            f"The Hub refuses the token{quoted}: run `hf auth login`, or set HF_TOKEN to a valid token that may write."
        )
    if status == 403:
        return f"The token may not write to {repo_id}{quoted}: use your own name, or a token that may."
    if status in (413, 507):
        return f"The Hub has no space for the files{quoted}: delete some of yours, or ask for more."
    if status == 429:
        return "The Hub takes no more requests for now: wait some minutes."
    if status >= 500:
        return f"The Hub fails with status {status}{quoted}: wait some minutes."
    return f"The Hub answers with status {status}: {said or _first_line(error)}."


def _first_line(error: BaseException) -> str:
    """The first line of an error, or its type."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


__all__ = ["AGAIN", "asking_hub", "explaining_full_disks"]
