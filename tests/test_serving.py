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
import base64
import contextlib
import io
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import uvicorn

from app import Limits, build_app
from audioslots_hf import load_separator
from handler import EndpointHandler, encode_tracks
from tests.audio_helpers import tones


SERVING = Path(__file__).parents[1] / "examples" / "serving"
RATE = 8000
NUM_CLIENTS = 50


def as_file(samples: np.ndarray, rate: int = RATE, file_format: str = "WAV", subtype: str = "PCM_16") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, subtype, format=file_format)
    return file.getvalue()


def recording_of(client: int) -> np.ndarray:
    """A recording like that of no other client, also in its length."""
    return (0.2 + 0.01 * client) * tones(600 + 40 * client, RATE)


def send(address: str, content: bytes, timeout: float = 60) -> tuple[int, object, Message]:
    """Post a recording -> status, answer and headers."""
    request = urllib.request.Request(address, content, {"Content-Type": "audio/wav"})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            return response.status, json.load(response), response.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error), error.headers


def read_health(address: str) -> dict:
    with urllib.request.urlopen(f"{address}/health", timeout=10) as response:
        return json.load(response)


def wait_for(condition, timeout: float = 10):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def mix(tracks: list[dict]) -> np.ndarray:
    return sum(soundfile.read(io.BytesIO(base64.b64decode(track["blob"])))[0] for track in tracks)


@contextlib.contextmanager
def serving(load, limits: Limits):
    """Serve in a thread of this process -> its address on the loopback."""
    server = uvicorn.Server(uvicorn.Config(build_app(load, limits), port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_for(lambda: server.started)
        yield "http://{}:{}".format(*server.servers[0].sockets[0].getsockname())
    finally:
        server.should_exit = True
        thread.join()


class SlowSeparator:
    """Stands in for the pipeline: two forward passes that wait until they are let go."""

    def __init__(self):
        self.model = torch.nn.Identity()
        self.is_open = threading.Event()
        self.num_calls = self.num_passes = 0

    def __call__(self, audio: dict, show_progress: bool) -> list[dict]:
        self.num_calls += 1
        for _ in range(2):
            self.model(torch.zeros(1))
            self.num_passes += 1
            self.is_open.wait(30)
        return [{"label": "source_0", "audio": audio["array"], "sampling_rate": audio["sampling_rate"]}]


def test_fifty_clients_at_once_get_their_own_tracks(checkpoint):
    limits = Limits(max_waiting=NUM_CLIENTS)
    with (
        serving(lambda: load_separator(checkpoint, device="cpu", num_speakers="outputs"), limits) as address,
        ThreadPoolExecutor(50) as pool,
    ):
        answers = list(pool.map(lambda client: send(address, as_file(recording_of(client))), range(NUM_CLIENTS)))
        assert read_health(address) == {"status": "ok", "waiting": 0, "max_waiting": NUM_CLIENTS}
    for client, (status, tracks, _) in enumerate(answers):
        assert status == 200 and [track["label"] for track in tracks] == ["source_0", "source_1"]
        # three times, 16 bits drop what is below a step
        np.testing.assert_allclose(mix(tracks), recording_of(client), atol=3 * 2**-15)


def test_overload_is_refused_before_the_upload_with_a_time_to_come_back():
    separator = SlowSeparator()
    with serving(lambda: separator, Limits(max_waiting=2)) as address, ThreadPoolExecutor(NUM_CLIENTS) as pool:
        content = as_file(recording_of(0))
        waiting = [pool.submit(send, address, content) for _ in range(2)]
        wait_for(lambda: read_health(address)["waiting"] == 2)
        refused = list(pool.map(lambda _: send(address, content), range(NUM_CLIENTS - 2)))
        separator.is_open.set()
        assert [future.result()[0] for future in waiting] == [200, 200]
        assert send(address, content)[0] == 200
    for status, answer, headers in refused:
        assert status == 503 and int(headers["Retry-After"]) >= 1
        assert answer == {"error": "2 recordings wait already: try again later."}
    assert separator.num_calls == 3


@pytest.mark.parametrize(
    "content, query, status, message",
    [
        (b"\0" * 100_001, "", 413, "The recording is larger than 100,000 bytes: compress it, or cut it first."),
        (
            as_file(np.zeros(2 * RATE + 1), file_format="FLAC"),
            "",
            413,
            "The recording is longer than 2 seconds over all its channels: cut it first.",
        ),
        (
            as_file(np.zeros((RATE + 1, 2)), file_format="FLAC"),
            "",
            413,
            "The recording is longer than 2 seconds over all its channels: cut it first.",
        ),
        (b"", "", 422, "The recording cannot be read as audio: it is empty."),
        (b"no audio at all", "", 422, "The recording cannot be read as audio"),
        (as_file(np.zeros(RATE))[:-1000], "", 422, "The recording is truncated"),
        (as_file(np.zeros(8)), "?num_speakers=many", 422, "`num_speakers` is 'many': it must be a whole number,"),
        (as_file(np.zeros(8)), "?num_speakers=0", 422, "`num_speakers` is 0: it must be"),
    ],
    ids=["bytes", "seconds", "channels", "empty", "text", "truncated", "word", "nobody"],
)
def test_a_recording_that_cannot_be_served_is_refused_in_one_sentence(content, query, status, message):
    with serving(SlowSeparator, Limits(max_bytes=100_000, max_audio_s=2)) as address:
        found, answer, _ = send(f"{address}/{query}", content)
        assert found == status and answer["error"].startswith(message) and "\n" not in answer["error"]
        assert read_health(address)["waiting"] == 0


def test_a_body_of_unknown_size_is_read_only_as_far_as_the_limit():
    with serving(SlowSeparator, Limits(max_bytes=1000)) as address:
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            connection.sendall(b"3e9\r\n" + bytes(0x3E9) + b"\r\n")
            # no end of the body: the answer comes without it
            assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_a_recording_that_is_not_done_in_time_is_given_up():
    separator = SlowSeparator()
    with serving(lambda: separator, Limits(timeout_s=0.6)) as address:
        status, answer, headers = send(address, as_file(recording_of(0)))
        assert status == 503 and answer == {"error": "The recording was not done in time: try again later."}
        assert "Retry-After" in headers and read_health(address)["waiting"] == 0
        # the thread is free again before its second forward pass
        separator.is_open.set()
        assert send(address, as_file(recording_of(0)))[0] == 200
    assert separator.num_calls == 2 and separator.num_passes == 3


def test_a_client_that_goes_leaves_its_place():
    separator = SlowSeparator()
    with serving(lambda: separator, Limits(max_waiting=1)) as address:
        with pytest.raises(TimeoutError):
            send(address, as_file(recording_of(0)), timeout=0.3)
        wait_for(lambda: read_health(address)["waiting"] == 0)
        separator.is_open.set()
        assert send(address, as_file(recording_of(0)))[0] == 200


def test_an_upload_that_never_ends_is_given_up():
    with serving(SlowSeparator, Limits(timeout_s=0.3)) as address:
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc")
            assert connection.recv(100).startswith(b"HTTP/1.1 408 ")
        wait_for(lambda: read_health(address)["waiting"] == 0)


def test_the_handler_takes_bytes_and_base64_and_never_a_path(checkpoint):
    handler = EndpointHandler(str(checkpoint))
    content = as_file(recording_of(3))
    tracks = handler({"inputs": content})
    assert handler({"inputs": base64.b64encode(content).decode()}) == tracks
    np.testing.assert_allclose(mix(tracks), recording_of(3), atol=3 * 2**-15)
    with pytest.raises(ValueError, match="`inputs` is text, but not base64"):
        handler({"inputs": "/etc/hostname.wav"})
    with pytest.raises(ValueError, match="`inputs` is NoneType: send the bytes"):
        handler({})
    with pytest.raises(ValueError, match="There is no parameter sampling_rate: the parameters are num_speakers"):
        handler({"inputs": content, "parameters": {"sampling_rate": 3}})


def test_tracks_that_would_clip_are_attenuated_alike():
    loud = {"label": "source_0", "audio": np.float32([2.0, -1.0]), "sampling_rate": RATE}
    quiet = {"label": "source_1", "audio": np.float32([0.5, 0.5]), "sampling_rate": RATE, "segments": [(0.0, 0.1)]}
    encoded = encode_tracks([loud, quiet])
    samples = [soundfile.read(io.BytesIO(base64.b64decode(track["blob"])))[0] for track in encoded]
    np.testing.assert_allclose(samples, [[1.0, -0.5], [0.25, 0.25]], atol=2**-14)
    assert encoded[1]["segments"] == [(0.0, 0.1)] and "segments" not in encoded[0]
    assert {track["content-type"] for track in encoded} == {"audio/flac"} and encode_tracks([]) == []


def test_tracks_that_flac_cannot_hold_are_wav():
    [encoded] = encode_tracks([{"label": "source_0", "audio": np.zeros((9, 20)), "sampling_rate": RATE}])
    file = soundfile.info(io.BytesIO(base64.b64decode(encoded["blob"])))
    assert (encoded["content-type"], file.format, file.channels, file.frames) == ("audio/wav", "WAV", 9, 20)


@pytest.mark.slow
def test_the_handler_works_in_a_repository_without_this_package(separator, tmp_path, bare_processes):
    separator.save_pretrained(tmp_path / "model")
    (tmp_path / "mixture.wav").write_bytes(as_file(recording_of(0)))
    code = (SERVING / "handler.py").read_text("utf-8") + (
        "\nimport sys, json"
        "\ntracks = EndpointHandler(sys.argv[1])({'inputs': open(sys.argv[2], 'rb').read()})"
        "\njson.dump(tracks, open(sys.argv[3], 'w'))"
    )
    bare_processes.run(code, tmp_path / "model", tmp_path / "mixture.wav", tmp_path / "tracks.json")
    tracks = json.loads((tmp_path / "tracks.json").read_text())
    np.testing.assert_allclose(mix(tracks), recording_of(0), atol=3 * 2**-15)


def resident_mib(process: subprocess.Popen) -> float:
    [line] = [line for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if "VmRSS" in line]
    return int(line.split()[1]) / 1024


def send_until_served(address: str, content: bytes) -> tuple[object, int]:
    """Post a recording as a polite client does -> the answer, and the number of refusals before."""
    for num_refusals in range(1000):
        status, answer, headers = send(address, content, timeout=300)
        if status == 200:
            return answer, num_refusals
        assert status == 503, answer
        time.sleep(min(1, int(headers["Retry-After"])))
    raise AssertionError("never served")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the memory of a process from /proc")
def test_the_server_of_the_default_model_holds_fifty_clients_in_flat_memory(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, str(SERVING / "app.py"), "--port", str(port), "--max-waiting", "8"]
    with open(tmp_path / "log", "w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"OMP_NUM_THREADS": "1"})
    address = f"http://127.0.0.1:{port}"
    speech = soundfile.read(Path(__file__).parent / "samples" / "two_voices.flac")[0][:32000]
    # the allocator keeps room for each length: few lengths fill its pools in few rounds
    recordings = [(0.3 + 0.01 * client) * speech[: 16000 + 3000 * (client % 5)] for client in range(NUM_CLIENTS)]
    contents = [as_file(recording, 16000) for recording in recordings]
    try:
        wait_for(lambda: is_up(address), timeout=120)
        memory = []
        # a leak first uses free space of the pools, so at least six rounds, and on
        # until 150 recordings in a row keep less than 35 KiB each: a track alone would take 64
        while len(memory) < 6 or memory[-1] - memory[-4] > 5:
            assert len(memory) < 15, memory
            with ThreadPoolExecutor(NUM_CLIENTS) as pool:
                answers = list(pool.map(lambda content: send_until_served(address, content), contents))
            memory.append(resident_mib(process))
            for recording, (tracks, _) in zip(recordings, answers, strict=True):
                # tracks of people are silent where nobody speaks
                assert np.square(mix(tracks) - recording).sum() < 1e-3 * np.square(recording).sum()
            assert sum(num_refusals for _, num_refusals in answers) > 0
        print("resident memory after each 50 recordings:", *(f"{size:.0f} MiB" for size in memory))
        check_with_the_client_of_the_hub(address, contents[0], answers[0][0])
    finally:
        process.terminate()
        process.wait(30)
    assert "Traceback" not in (tmp_path / "log").read_text()


def is_up(address: str) -> bool:
    with contextlib.suppress(OSError):
        return read_health(address)["status"] == "ok"
    return False


def check_with_the_client_of_the_hub(address: str, content: bytes, expected: list[dict]):
    """The answer is what `huggingface_hub` reads from the Hub's own servers."""
    code = (
        "import sys, pathlib; from huggingface_hub import InferenceClient\n"
        f"tracks = InferenceClient(model={address!r}).audio_to_audio(sys.stdin.buffer.read())\n"
        "print([(track.label, track.content_type, len(track.blob)) for track in tracks])"
    )
    environment = os.environ | {"HF_HUB_OFFLINE": "0", "HF_TOKEN": "", "HF_HUB_DISABLE_TELEMETRY": "1"}
    process = subprocess.run([sys.executable, "-c", code], input=content, capture_output=True, env=environment)
    sizes = [(track["label"], "audio/flac", len(base64.b64decode(track["blob"]))) for track in expected]
    assert process.stdout.decode() == f"{sizes}\n", process.stderr.decode()
