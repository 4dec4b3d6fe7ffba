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
"""
A server that separates recordings, and holds load.

`python examples/serving/app.py` listens on this machine only. One model in one thread serves all clients in turn. The number of waiting
recordings, their bytes, their seconds and the time of each request are bounded, so memory is bounded too.
"""

import argparse
import asyncio
import json
import math
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect

from audioslots_hf.allocator import keep_freed_memory
from audioslots_hf.recordings import BLOCK_S, open_sound
from audioslots_hf.speakers import wants_outputs
from handler import EndpointHandler, encode_tracks


@dataclass(frozen=True)
class Limits:
    """
    Bounds of the server.

    Args:
        max_bytes (`int`):
            Size of a recording.
        max_audio_s (`float`):
            Seconds of audio, summed over the channels.
        max_waiting (`int`):
            Recordings that are uploaded, wait or are separated at the same time.
        timeout_s (`float`):
            Seconds from a request to its answer.
    """

    max_bytes: int = 32 * 2**20
    max_audio_s: float = 600
    max_waiting: int = 8
    timeout_s: float = 120


# 256 MiB of float32, whatever the sampling rate
MAX_VALUES = 2**26
# between two looks at a request that waits
POLL_S = 0.5
# nobody reads this answer; logs of servers know the number
CLIENT_GONE = 499


class TooLargeError(ValueError):
    """A recording that exceeds a limit."""


class AbandonedError(Exception):
    """Nobody waits for this recording any more."""


class Worker:
    """One model in one thread. A recording that nobody waits for any more is given up before the next forward pass."""

    def __init__(self, separator: Callable[..., list[dict[str, Any]]], limits: Limits):
        self.separator = separator
        self.limits = limits
        self.executor = ThreadPoolExecutor(1)
        self.num_waiting = 0
        self.last_s = 1.0
        self.is_abandoned = threading.Event()
        separator.model.register_forward_pre_hook(self._check)

    def _check(self, *_: Any) -> None:
        if self.is_abandoned.is_set():
            raise AbandonedError

    def separate(self, content: bytes, speakers: dict[str, Any], is_abandoned: threading.Event) -> bytes:
        """Separate the bytes of a file, in the worker's thread -> the answer as JSON."""
        self.is_abandoned = is_abandoned
        self._check()
        started = time.monotonic()
        tracks = self.separator(decode(content, self.limits), show_progress=False, **speakers)
        answer = json.dumps(encode_tracks(tracks)).encode()
        self.last_s = time.monotonic() - started
        return answer

    @property
    def retry_after_s(self) -> int:
        """Seconds until the waiting recordings are probably done."""
        return math.ceil(max(1.0, self.num_waiting * self.last_s))


def decode(content: bytes, limits: Limits) -> dict[str, Any]:
    """The samples of a file, decoded only as far as the limits allow."""
    blocks, num_values = [], 0
    with open_sound(content, "The recording") as sound:
        allowed = min(MAX_VALUES, int(limits.max_audio_s * sound.sampling_rate))
        for block in sound.read(BLOCK_S * sound.sampling_rate):
            num_values += block.size
            if num_values > allowed:
                raise TooLargeError(
                    f"The recording is longer than {allowed / sound.sampling_rate:.0f} seconds over all its channels: cut it first."
                )
            blocks.append(block)
    samples = np.concatenate(blocks)
    # a recording of one channel is one row of samples
    return {"array": samples[:, 0] if samples.shape[1] == 1 else samples.T, "sampling_rate": sound.sampling_rate}


async def receive(request: Request, max_bytes: int) -> bytes:
    """The body of a request, read only as far as the limit allows."""
    declared = request.headers.get("content-length", "0")
    content = bytearray()
    message = f"The recording is larger than {max_bytes:,} bytes: compress it, or cut it first."
    if declared.isdigit() and int(declared) > max_bytes:
        raise TooLargeError(message)
    async for part in request.stream():
        content += part
        if len(content) > max_bytes:
            raise TooLargeError(message)
    return bytes(content)


async def answer(request: Request, worker: Worker, speakers: dict[str, Any]) -> bytes:
    """Receive a recording and separate it, as long as the client waits and the time allows."""
    deadline = time.monotonic() + worker.limits.timeout_s
    try:
        content = await asyncio.wait_for(receive(request, worker.limits.max_bytes), worker.limits.timeout_s)
    except TimeoutError as error:
        raise HTTPException(408, "The upload took too long: try again with a faster connection.") from error
    except ClientDisconnect as error:
        raise HTTPException(CLIENT_GONE, "The client has gone.") from error
    is_abandoned = threading.Event()
    loop = asyncio.get_running_loop()
    job = loop.run_in_executor(worker.executor, worker.separate, content, speakers, is_abandoned)
    try:
        while not (await asyncio.wait([job], timeout=POLL_S))[0]:
            if time.monotonic() > deadline:
                retry = {"Retry-After": str(worker.retry_after_s)}
                raise HTTPException(503, "The recording was not done in time: try again later.", retry)
            if await request.is_disconnected():
                raise HTTPException(CLIENT_GONE, "The client has gone.")
        return job.result()
    finally:
        is_abandoned.set()
        job.cancel()


def build_app(load: Callable[[], Any], limits: Limits | None = None) -> FastAPI:
    """
    Build the application.

    Args:
        load (callable):
            Loads the pipeline; the server answers once it is loaded.
        limits ([`Limits`], *optional*):
            Bounds of the server.
    """
    limits = limits or Limits()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.worker = Worker(load(), limits)
        yield
        app.state.worker.executor.shutdown(cancel_futures=True)

    app = FastAPI(title="audioslots", lifespan=lifespan)

    @app.exception_handler(HTTPException)
    async def say(request: Request, error: HTTPException) -> JSONResponse:
        # the form of the Hub's servers, which its clients show
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {"status": "ok", "waiting": app.state.worker.num_waiting, "max_waiting": limits.max_waiting}

    @app.post("/")
    async def separate(request: Request, num_speakers: str | None = None, max_speakers: str | None = None) -> Response:
        worker = app.state.worker
        # before the upload: a refused recording takes no memory
        if worker.num_waiting >= limits.max_waiting:
            retry = {"Retry-After": str(worker.retry_after_s)}
            raise HTTPException(503, f"{worker.num_waiting} recordings wait already: try again later.", retry)
        worker.num_waiting += 1
        try:
            speakers = read_speakers(num_speakers, max_speakers)
            return Response(await answer(request, worker, speakers), media_type="application/json")
        except TooLargeError as error:
            raise HTTPException(413, str(error)) from error
        except ValueError as error:
            raise HTTPException(422, str(error)) from error
        finally:
            worker.num_waiting -= 1

    return app


def read_speakers(num_speakers: str | None, max_speakers: str | None) -> dict[str, Any]:
    """The options of a conversation, from the address; a `ValueError` if they make no sense."""
    given = {"num_speakers": num_speakers, "max_speakers": max_speakers}
    speakers = {name: int(word) if word.isdigit() else word for name, word in given.items() if word is not None}
    if speakers:
        wants_outputs(**{"num_speakers": None, "max_speakers": None, **speakers})
    return speakers


def main() -> None:
    """Serve a model until Ctrl-C."""
    parser = argparse.ArgumentParser(description="Serve a model that separates recordings.")
    model_help = "shipped checkpoint, folder or Hub repository (default: the best shipped checkpoint)"
    parser.add_argument("--model", default="", help=model_help)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on (default: %(default)s)")
    meanings = {
        "max_bytes": "size of a recording in bytes",
        "max_audio_s": "seconds of audio of a recording, summed over the channels",
        "max_waiting": "recordings that are uploaded, wait or are separated at the same time",
        "timeout_s": "seconds from a request to its answer",
    }
    for name, default in vars(Limits()).items():
        text = f"{meanings[name]} (default: %(default)s)"
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default, help=text)
    options = vars(parser.parse_args())
    model, host, port = (options.pop(name) for name in ("model", "host", "port"))
    keep_freed_memory()
    uvicorn.run(build_app(lambda: EndpointHandler(model).separator, Limits(**options)), host=host, port=port)


if __name__ == "__main__":
    main()
