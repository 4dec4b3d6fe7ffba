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
import argparse
import json
import re

import pytest
import torch

from audioslots_hf import DprnnConfig, DprnnForAudioSeparation
from training.benchmark import peers
from training.benchmark.peers import CANDIDATES, Candidate, MeasurementError, Row


OURS = [name for name, candidate in CANDIDATES.items() if candidate.package == peers.OURS]
PEERS = [name for name in CANDIDATES if name not in OURS]
TINY = ["--seconds", "0.2", "--memory-seconds", "0.2", "--rounds", "1", "--repetitions", "1", "--threads", "1"]


def parse(*words):
    parser = argparse.ArgumentParser()
    peers.add_arguments(parser)
    return parser.parse_args(words)


def pretend_installed(monkeypatch, *packages):
    def version(package):
        if package not in packages:
            raise peers.metadata.PackageNotFoundError
        return "1.2"

    monkeypatch.setattr(peers.metadata, "version", version)


def pretend_measured(monkeypatch, **failures):
    """Every model takes a second per letter of its name, and a MiB; `failures` by measure."""

    def measure_in_process(name, measure, threads, **arguments):
        if failures.get(measure) == name:
            raise MeasurementError("ImportError: broken")
        return {"parameters": 1000, "macs_per_s": 2e9, "seconds": len(name), "cpu_seconds": 20, "bytes": 2**20}

    monkeypatch.setattr(peers, "measure_in_process", measure_in_process)


def short_segments(**options):
    """DPRNN with fewer steps, which are counted one by one."""

    def build(sampling_rate):
        config = DprnnConfig(
            sampling_rate=sampling_rate, chunk_length=sampling_rate // 5, segment_length=20, num_hidden_layers=1
        )
        return DprnnForAudioSeparation(config)

    return Candidate("DPRNN", peers.OURS, build, **options)


def test_operations_of_dprnn_are_those_of_the_closed_form():
    num_samples = 1600
    num_frames = num_samples // 8 + 1
    num_steps = 20 * (-(-num_frames // 10) + 1)
    lstm = 2 * 4 * 128 * (64 + 128)
    layers = 2 * num_steps * (lstm + 2 * 128 * 64)
    filterbanks = num_frames * 64 * 16 * (1 + 2)
    masks = num_frames * (64 * 2 * 64 + 2 * 2 * 64 * 64)
    assert peers.count_macs(short_segments().build(8000), num_samples) == layers + filterbanks + masks


@pytest.mark.parametrize(("seconds", "num_chunks"), [(0.1, 1), (0.2, 1), (0.21, 2), (0.4, 5), (60, 1197)])
def test_overlaps_are_counted_each_time(seconds, num_chunks):
    """Chunks of a fifth of a second, the next after a quarter of it."""
    chunks = peers.measure_size(short_segments(is_chunked=True), 8000, seconds)
    whole = peers.measure_size(short_segments(), 8000, 0.2)
    assert chunks["parameters"] == whole["parameters"]
    assert chunks["macs_per_s"] * seconds == pytest.approx(num_chunks * 0.2 * whole["macs_per_s"])


def test_our_models_have_their_published_sizes():
    sizes = {name: sum(p.numel() for p in CANDIDATES[name].build(8000).parameters()) for name in OURS}
    assert sizes == {"dprnn": 2_601_601, "galr": 1_450_777, "dprnn-chunks": 2_601_601, "galr-chunks": 1_450_777}


@pytest.mark.parametrize("name", ["dprnn", "galr-chunks"])
def test_our_models_are_timed(name):
    times = peers.measure_time(CANDIDATES[name], 8000, 0.2, repetitions=1)
    assert times["seconds"] > 0
    assert times["cpu_seconds"] > 0


@pytest.mark.slow
def test_our_models_are_measured_in_a_process_of_their_own():
    result = peers.measure_in_process("galr", "memory", 1, sampling_rate=8000, seconds=0.5, limit_bytes=2**31)
    assert 2**20 < result["bytes"] < 2**30


def test_a_failing_process_says_why(monkeypatch):
    monkeypatch.setattr(peers.sys, "executable", "false")
    with pytest.raises(MeasurementError, match="exit code 1"):
        peers.measure_in_process("galr", "size", 1)


def test_an_allocation_beyond_the_limit_is_no_failure(monkeypatch):
    def load(candidate, sampling_rate):
        return lambda waveforms: torch.empty(2**50)

    monkeypatch.setattr(peers, "load", load)
    monkeypatch.setattr(peers, "limit_memory", lambda num_bytes: None)
    assert peers.measure_memory(CANDIDATES["dprnn"], 8000, 0.1, 2**20) == {"bytes": None}


def test_another_failure_is_one(monkeypatch):
    def load(candidate, sampling_rate):
        return lambda waveforms: waveforms.view(7)

    monkeypatch.setattr(peers, "load", load)
    monkeypatch.setattr(peers, "limit_memory", lambda num_bytes: None)
    with pytest.raises(RuntimeError, match="invalid for input of size"):
        peers.measure_memory(CANDIDATES["dprnn"], 8000, 0.1, 2**20)


def test_a_missing_package_gives_a_row(monkeypatch, capsys):
    pretend_installed(monkeypatch, peers.OURS, "asteroid")
    pretend_measured(monkeypatch)
    result = peers.run(parse())
    table = capsys.readouterr().out
    assert "| SepFormer | speechbrain | not installed |  |  |  |  |  |  |  |" in table
    assert "| DPRNNTasNet | asteroid 1.2 | 1,000 | 2.00 | 1.400 | 2.000 | 2.80 | 1.00 | 1 | 1 |" in table
    assert result["time_over_dprnn"]["asteroid-dprnn"] == 14 / 5
    assert result["models"]["torchaudio-conv-tasnet"]["problem"] == "not installed"
    assert "torchaudio-conv-tasnet" not in result["time_over_dprnn"]
    json.dumps(result)


def test_no_package_to_compare_with_is_an_error_that_names_the_requirements(monkeypatch):
    pretend_installed(monkeypatch, peers.OURS)
    with pytest.raises(SystemExit, match="requirements-peers.txt"):
        peers.run(parse())
    assert peers.REQUIREMENTS.exists()


@pytest.mark.parametrize("measure", ["size", "time", "memory"])
def test_a_package_that_fails_gives_a_row(monkeypatch, capsys, measure):
    pretend_installed(monkeypatch, peers.OURS, "asteroid", "speechbrain")
    pretend_measured(monkeypatch, **{measure: "asteroid-dprnn"})
    peers.run(parse("--models", "dprnn", "asteroid-dprnn", "speechbrain-dprnn"))
    lines = capsys.readouterr().out.splitlines()
    assert "| DPRNNTasNet | asteroid 1.2 | failed: ImportError: broken |  |  |  |  |  |  |  |" in lines
    assert "| DPRNN | speechbrain 1.2 | 1,000 | 2.00 | 1.700 | 2.000 | 3.40 | 1.00 | 1 | 1 |" in lines


def test_without_our_dprnn_there_is_no_ratio(monkeypatch, capsys):
    pretend_installed(monkeypatch, peers.OURS)
    pretend_measured(monkeypatch)
    assert peers.run(parse("--models", "galr"))["time_over_dprnn"] == {"galr": None}
    assert "| GALR small | audioslots-hf 1.2 | 1,000 | 2.00 | 0.400 | 2.000 |  |  | 1 | 1 |" in capsys.readouterr().out


def test_memory_alone_can_be_measured(monkeypatch, capsys):
    pretend_installed(monkeypatch, peers.OURS)
    pretend_measured(monkeypatch)
    assert peers.run(parse("--models", "galr", "--rounds", "0"))["time_over_dprnn"] == {}
    assert "| GALR small | audioslots-hf 1.2 | 1,000 | 2.00 |  |  |  |  | 1 | 1 |" in capsys.readouterr().out


def test_every_row_of_the_table_has_all_columns():
    options = parse("--memory-seconds", "10", "60")
    rows = {
        "dprnn": Row(2_601_601, 5e9, [1.0, 3.0, 2.0], [2.0, 2.0, 4.0], {10: 2**28, 60: None}),
        "galr": Row(1_450_777, 2.5e9, [0.5, 2.0, 1.2], [1.0, 1.0, 1.0], {10: 2**27, 60: 2**30}),
        "torchaudio-conv-tasnet": Row(problem="not installed"),
    }
    lines = peers.format_table(rows, options).splitlines()
    assert {line.count("|") for line in lines} == {11}
    assert re.search(r"\| 2,601,601 \| 5\.00 \| 0\.200 \| 0\.200 \| 1\.00 \| 1\.00 \| 256 \| over 8 GiB \|$", lines[2])
    # within the rounds: 0.5, 0.67 and 0.6
    assert re.search(r"\| 0\.120 \| 0\.100 \| 0\.60 \| 0\.50 \| 128 \| 1024 \|$", lines[3])


@pytest.mark.parametrize("name", PEERS)
def test_the_requirements_name_every_package(name):
    pins = [line for line in peers.REQUIREMENTS.read_text().splitlines() if not line.startswith("#")]
    assert any(pin.startswith(f"{CANDIDATES[name].package}==") for pin in pins)


@pytest.mark.slow
@pytest.mark.parametrize("name", PEERS)
def test_the_peers_have_their_published_sizes(name):
    pytest.importorskip(CANDIDATES[name].package)
    published = {"asteroid-dprnn": 2.6e6, "speechbrain-dprnn": 2.6e6, "speechbrain-sepformer": 25.7e6}
    size = peers.measure_in_process(name, "size", 1, sampling_rate=8000, seconds=0.5)
    assert size["parameters"] == pytest.approx(published.get(name, 5.1e6), rel=0.03)


@pytest.mark.slow
def test_our_models_alone():
    names = ["dprnn", "galr-chunks"]
    result = peers.run(parse("--models", *names, *TINY))
    assert list(result["time_over_dprnn"]) == list(result["cpu_time_over_dprnn"]) == names
    assert all(row["peaks"][0.2] > 0 for row in result["models"].values())
