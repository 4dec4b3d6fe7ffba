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
import mmap
import os
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModel

from audioslots_hf import DprnnConfig, GalrConfig
from audioslots_hf.resources import count_macs_by_kind, skip_lstms
from tests.conftest import TINY_DUAL_PATH
from training.benchmark import __main__ as benchmark
from training.benchmark import galr_vs_dprnn, gpu_step, loader, long_audio, track_continuity
from training.benchmark.galr_vs_dprnn import Case, count, fits, plan, savings
from training.benchmark.memory import PeakMemory, available_bytes
from training.benchmark.processes import run_in_process
from training.benchmark.track_continuity import build_voice, count_correct_joins
from training.data.speech import Utterance
from training.model import build_feature_extractor
from training.settings import SettingsError


DEBUG = Path(__file__).parents[1] / "training" / "configs" / "debug.yaml"


def parse(module, *words):
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    return parser.parse_args(words)


def lstm_macs(num_steps, input_size=64, hidden_size=128):
    """Both directions, all gates."""
    return num_steps * 2 * 4 * hidden_size * (input_size + hidden_size)


@pytest.fixture
def short_audio(monkeypatch):
    """A quarter of a second in place of four."""
    monkeypatch.setattr(galr_vs_dprnn, "DURATION_S", 0.25)


def test_operations_are_those_of_the_closed_form(short_audio):
    """DPRNN at M = 16: LSTMs and projections over all frames of all segments, filterbanks and masks over all frames."""
    num_parameters, macs = count(Case("dprnn", 16, 16000, "cpu"))
    num_frames = 4000 // 8 + 1
    num_segments = -(-num_frames // 50) + 1
    layers = 12 * (lstm_macs(100 * num_segments) + 100 * num_segments * 256 * 64)
    filterbanks = num_frames * 64 * 16 * 3
    masks = num_frames * (64 * 128 + 2 * 2 * 64 * 64)
    assert num_parameters == 2_601_601
    assert 0.25 * macs == pytest.approx(layers + filterbanks + masks, rel=1e-6)


def test_lstms_count_as_many_operations_as_step_by_step():
    """On the meta device FlopCounterMode sees every product of an LSTM."""
    with torch.device("meta"):
        lstm = torch.nn.LSTM(5, 7, num_layers=2, bidirectional=True).requires_grad_(False)
        inputs = torch.empty(3, 2, 5)
    with FlopCounterMode(display=False) as counter:
        expected, _ = lstm(inputs)
    macs = skip_lstms(lstm)
    outputs, _ = lstm(inputs, (inputs.new_zeros(4, 2, 7), inputs.new_zeros(4, 2, 7)))
    assert sum(macs) == counter.get_total_flops() / 2
    assert outputs.shape == expected.shape


def test_galr_needs_about_half_of_the_operations():
    """49.4 % less in the paper."""
    cases = plan([16, 8, 4], [16000], ["cpu"])
    macs = {case: count(case)[1] for case in cases}
    saving = savings(macs, [16, 8, 4])
    assert list(saving) == ["16", "8", "4"]
    assert all(0.44 < value < 0.52 for value in saving.values())


def test_savings_leave_out_missing_measurements():
    dprnn, galr = plan([16], [16000], ["cpu"])
    assert savings({dprnn: 10.0, galr: 4.0}, [16, 8]) == {"16": 0.6}


def test_a_case_too_large_for_the_memory_is_not_tried():
    small, large = Case("galr", 16, 8000, "cpu"), Case("galr", 2, 8000, "cpu")
    assert fits(large, {})
    assert fits(large, {small: 1.0})
    assert not fits(large, {small: available_bytes() / 8})
    # another family tells nothing
    assert fits(large, {Case("dprnn", 16, 8000, "cpu"): available_bytes()})


def test_peak_memory_includes_freed_memory():
    memory = PeakMemory("cpu")
    # directly from the system, because the allocator might reuse freed memory
    with mmap.mmap(-1, 2**26) as pages:
        pages[:: mmap.PAGESIZE] = bytes(2**26 // mmap.PAGESIZE)
    assert 0.9 * 2**26 < memory.bytes() < 1.5 * 2**26


def test_galr_vs_dprnn_prints_a_table_and_gives_savings(short_audio, monkeypatch, capsys):
    # in this process: a new one would import everything again
    monkeypatch.setattr(galr_vs_dprnn, "run_in_process", lambda function, *arguments: function(*arguments))
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: None)
    options = parse(galr_vs_dprnn, "--kernel-sizes", "16", "--sampling-rates", "16000", "--repetitions", "1")
    result = galr_vs_dprnn.run(options)
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| cpu")]
    assert [row.split("|")[4].strip() for row in rows] == ["dprnn", "galr"]
    assert set(result) == {"memory_saving", "mac_saving"}
    assert 0 < result["mac_saving"]["16"] < 1 and result["memory_saving"]["16"] < 1


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, BrokenProcessPool])
def test_a_case_that_does_not_fit_after_all_gives_a_row(short_audio, monkeypatch, capsys, error):
    def run_out_of_memory(function, case, mode, repetitions):
        if case.family == "dprnn":
            raise error
        return galr_vs_dprnn.Measurement(1.0, 2**20)

    monkeypatch.setattr(galr_vs_dprnn, "run_in_process", run_out_of_memory)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: None)
    result = galr_vs_dprnn.run(parse(galr_vs_dprnn, "--kernel-sizes", "16", "--sampling-rates", "16000"))
    dprnn, galr = (line for line in capsys.readouterr().out.splitlines() if line.startswith("| cpu"))
    assert "too large for the memory" in dprnn and "| 1.00 | 1 | 1.00 | 1 |" in galr
    assert result["memory_saving"] == {} and set(result["mac_saving"]) == {"16"}


def test_both_families_are_the_published_ones(short_audio):
    assert galr_vs_dprnn.COMPARED == ("dprnn", "galr")
    assert count(Case("galr", 16, 16000, "cpu"))[0] == 1_450_777


def test_voices_stay_on_their_tracks_through_pauses(tmp_path):
    """Wanted of a separator of oracle quality: 98 % of the joins, with pauses up to two seconds."""
    options = parse(track_continuity, "--recordings", "1")
    assert track_continuity.run(options)["correct_joins"] >= 0.98


def test_joins_that_go_wrong_are_counted(monkeypatch):
    references = torch.randn(2, 32000, generator=torch.Generator().manual_seed(0))
    rng = np.random.default_rng(0)
    assert count_correct_joins(references, 8000, -15.0, rng) == (12, 12)
    # a tracker that leaves the random order: about half are right
    monkeypatch.setattr("audioslots_hf.chunking.Tracker.follow", lambda self, estimates, *evidence: estimates)
    monkeypatch.setattr("audioslots_hf.tracking.Tracker.order", torch.arange(2), raising=False)
    monkeypatch.setattr("audioslots_hf.tracking.Tracker.__init__", lambda self, sampling_rate: None)
    correct, total = count_correct_joins(references, 8000, -15.0, np.random.default_rng(0))
    assert total == 12 and 0 < correct < 12


def test_voices_have_pauses_between_utterances():
    utterance = Utterance(Path("one.wav"), 16000, -30.0, np.full(16000, 1000, np.int16))
    voice = build_voice([utterance], 160000, 2.0, np.random.default_rng(0))
    assert voice.shape == (160000,)
    assert 0.1 < (voice == 0).mean() < 0.7


@pytest.fixture
def one_file(tmp_path):
    """A folder of one speaker with one recording."""
    speaker = tmp_path / "speaker"
    speaker.mkdir()
    soundfile.write(speaker / "a.wav", 0.1 * torch.randn(16000).numpy(), 16000)
    return str(tmp_path)


def test_one_voice_is_not_enough(one_file):
    with pytest.raises(SettingsError, match="1 speaker"):
        track_continuity.run(parse(track_continuity, "--root", one_file))


def test_a_recording_without_joins_is_refused():
    with pytest.raises(
        SettingsError, match=r"--minutes is 0\.05 and --chunk-s 4: a recording must be longer than a chunk"
    ):
        track_continuity.run(parse(track_continuity, "--minutes", "0.05"))


def test_long_audio_is_measured_per_length(monkeypatch, capsys):
    monkeypatch.setattr(long_audio, "run_in_process", lambda function, *arguments: function(*arguments))
    monkeypatch.setattr(
        long_audio,
        "build_config",
        lambda rate: GalrConfig(**{**TINY_DUAL_PATH, "num_attention_heads": 2, "sampling_rate": rate}),
    )
    results = long_audio.run(parse(long_audio, "--minutes", "0.1", "0.2", "--sampling-rates", "8000"))
    assert set(results["speed"]) == set(results["memory_mib"]) == {"8000 Hz, 0.1 min", "8000 Hz, 0.2 min"}
    assert all(value > 0 for value in results["speed"].values())
    assert capsys.readouterr().out.count("| 8000 |") == 2


def test_the_command_is_measured_on_conversations(monkeypatch, capsys):
    recordings = []

    def measure(recording):
        recordings.append(soundfile.info(recording))
        return 2.0, 2**29

    monkeypatch.setattr(long_audio, "measure_command", measure)
    results = long_audio.run(parse(long_audio, "--command", "--minutes", "0.1", "0.2"))
    assert [(info.frames, info.samplerate, info.channels) for info in recordings] == [
        (96000, 16000, 1),
        (192000, 16000, 1),
    ]
    assert results == {"cpu_s": {"0.1 min": 2.0, "0.2 min": 2.0}, "memory_mib": {"0.1 min": 512.0, "0.2 min": 512.0}}
    assert "| 0.1 | 2 | 3.0 | 512 |" in capsys.readouterr().out


@pytest.mark.slow
def test_the_time_and_the_memory_of_the_command_are_its_own(tmp_path):
    recording = tmp_path / "voices.wav"
    soundfile.write(recording, 0.1 * torch.randn(32000).numpy(), 16000)
    # more than the command needs
    with mmap.mmap(-1, 2**31) as pages:
        pages[:: mmap.PAGESIZE] = bytes(2**31 // mmap.PAGESIZE)
        cpu_s, peak_bytes = long_audio.measure_command(recording)
    assert 0.5 < cpu_s < 100 and 2**27 < peak_bytes < 2**31


def test_a_measurement_runs_in_a_process_of_its_own():
    assert run_in_process(os.getpid) != os.getpid()


def test_the_loader_is_measured_in_all_its_ways(capsys):
    options = parse(loader, "--seconds", "0.05", "--crops", "0.5", "--sampling-rates", "8000", "16000")
    speeds = loader.run(options)["examples_per_s"]
    assert set(speeds) == {f"{name}, {rate} Hz, 0.5 s" for name in loader.SOURCES for rate in (8000, 16000)}
    assert all(speed > 10 for speed in speeds.values())
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("| list", "| disk", "| memory"))]
    shares = {row.split("|")[1].strip() + row.split("|")[2].strip(): row.split("|")[5:8] for row in rows}
    assert all(sum(int(share.strip(" %")) for share in row) in (99, 100, 101) for row in shares.values())
    # nothing is decoded from memory, and nothing resampled at the rate of the files
    assert shares["memory8000"][:2] == [" 0 % ", " 0 % "] and shares["list16000"][1] == " 0 % "
    assert shares["list8000"][1] != " 0 % " != shares["list8000"][0]


def test_one_file_is_not_enough_for_the_loader(one_file):
    with pytest.raises(SettingsError, match="has 1 file: a mixture needs two"):
        loader.run(parse(loader, "--root", one_file))


def test_a_training_step_is_measured(capsys):
    overrides = ["speech_on_device=true", "batch_size=2", "gradient_accumulation_steps=2"]
    options = parse(gpu_step, str(DEBUG), *overrides, "--steps", "2", "--warmup-steps", "1")
    # other processes may slow down the profiled steps alone: only then is it measured again
    for _ in range(3):
        results = gpu_step.run(options)
        if results["products_share_of_ceiling"] > results["share_of_ceiling"]:
            break
    assert results["audio_s_per_s"] == pytest.approx(results["steps_per_s"] * 2 * 4000 / 16000)
    for name in ("share_of_ceiling", "products_share_of_ceiling"):
        assert 0 < results[name] < 1
    # profiled steps may be slower than those that the clock saw
    assert 0 <= results["idle_share"] < 1
    assert results["tflop_per_s"] == pytest.approx(results["share_of_ceiling"] * results["ceiling_tflop_per_s"])
    # the kernels of convolutions and products do most of the work in a part of the time
    assert results["products_share_of_ceiling"] > results["share_of_ceiling"]
    assert "batches of 2 chunks, CPU" in capsys.readouterr().out


def test_kernels_hidden_from_the_profiler_are_reported_as_not_measured(monkeypatch, capsys):
    monkeypatch.setattr(gpu_step, "time_kernels", lambda take_step, device: gpu_step.Kernels(0.0, 0.0))
    results = gpu_step.run(parse(gpu_step, str(DEBUG), "batch_size=2", "--steps", "1", "--warmup-steps", "0"))
    assert results["products_share_of_ceiling"] is results["idle_share"] is None
    assert results["steps_per_s"] > 0
    assert capsys.readouterr().out.count("not measured") == 2


def test_settings_may_stand_behind_the_options(monkeypatch, capsys):
    monkeypatch.setattr(
        "sys.argv", ["benchmark", "gpu-step", str(DEBUG), "max_steps=5", "--steps", "2", "batch_size=0"]
    )
    with pytest.raises(SystemExit):
        benchmark.main()
    assert "`batch_size` (0) must be at least 1" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", ["benchmark", "gpu-step", str(DEBUG), "--steps", "2", "--typo=3"])
    with pytest.raises(SystemExit):
        benchmark.main()
    assert "unrecognized arguments: --typo=3" in capsys.readouterr().err


@pytest.mark.parametrize(
    "config",
    [GalrConfig(**TINY_DUAL_PATH, num_attention_heads=2), DprnnConfig(**TINY_DUAL_PATH)],
    ids=["galr", "dprnn"],
)
def test_the_operations_of_a_step_are_up_to_three_times_those_of_a_forward_pass(config):
    model = AutoModel.from_config(config)
    products, lstms = count_macs_by_kind(model, build_feature_extractor(config))
    counted_products, counted = gpu_step.count_operations(config, 5, torch.device("cpu"))
    assert counted - counted_products == 5 * 6 * lstms > 0
    # the first layer needs no gradient of its input
    assert 5 * 5 * products < counted_products <= 5 * 6 * products


def test_a_benchmark_names_the_fault(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["benchmark", "gpu-step", str(DEBUG), "batch_size=0"])
    with pytest.raises(SystemExit):
        benchmark.main()
    assert "`batch_size` (0) must be at least 1" in capsys.readouterr().err
