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
import io
import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from audioslots_hf import (
    AudioSlotsConfig,
    AudioSlotsForAudioSeparation,
)
from audioslots_hf.modeling_dual_path import DualPathForAudioSeparation
from tests.conftest import SAMPLES
from tests.evaluation.helpers import evaluate, run
from training import run_evaluation
from training.data.codecs import transmit
from training.data.effects import high_pass, match_spectra
from training.data.mixtures import Mixture
from training.evaluation.rows import Row, check_score
from training.evaluation.scoring import score_estimates
from training.evaluation.stopwatch import Stopwatch
from training.evaluation.subject import name_run
from training.evaluation.transmission import Transmission
from training.reporting.results import conditions_of, read_results, read_scores
from training.reporting.tables import format_results


@pytest.fixture(scope="module")
def evaluation(checkpoint, tmp_path_factory):
    """The output folder of the command, and its printed text."""
    folder = tmp_path_factory.mktemp("evaluation") / "audioslots"
    with redirect_stdout(io.StringIO()) as out:
        run(checkpoint, folder)
    return folder, out.getvalue()


def test_the_command_writes_results_that_agree_with_their_rows(checkpoint, evaluation):
    folder, out = evaluation
    results = read_results(folder / "results.json")
    names = ["order_by_tracker", "order_by_references", "order_by_references_binary"]
    assert list(results["rows"]) == [f"{subject}_{name}" for subject in ("oracle", "model") for name in names]
    assert {name: row.get("mask_exponent") for name, row in results["rows"].items() if row["mask"] == "binary"} == {
        "oracle_order_by_references_binary": None,
        "model_order_by_references_binary": None,
    }
    rows = results["rows"]
    for name in ("oracle_order_by_tracker", "model_order_by_tracker"):
        scores = read_scores(results, name)
        assert len(scores) == rows[name]["num_mixtures"] == 2
        # the scores of the mixtures have two decimals
        assert rows[name]["si_snri"] == pytest.approx(sum(score["si_snri"] for score in scores) / 2, abs=0.01)
        spread = abs(scores[0]["si_snri"] - scores[1]["si_snri"]) / 2
        assert rows[name]["standard_error"] == pytest.approx(spread, abs=0.01)
        inputs = [score[f"source_{source}_input_si_snr"] for score in scores for source in (1, 2)]
        assert rows[name]["si_snr"] - rows[name]["si_snri"] == pytest.approx(sum(inputs) / 4, abs=0.01)
    expected = rows["model_order_by_references"]["si_snri"] / rows["oracle_order_by_references"]["si_snri"]
    assert results["ratio_to_oracle"]["order_by_references"] == pytest.approx(expected)
    assert results["weights"]["num_parameters"] == AutoModel.from_pretrained(checkpoint).num_parameters()
    assert "model_order_by_tracker" in out and re.search(
        r"model \d+ % of .* s, reading \d+ %, stitching and metrics \d+ %", out
    )
    assert 0 < results["share_outside_model"] < 1


def test_mixtures_can_come_over_a_telephone(waveform_checkpoint, tmp_path, mixtures):
    plain = run(waveform_checkpoint, tmp_path / "plain")
    filtered = run(waveform_checkpoint, tmp_path / "filtered", "--high-pass", 300)
    # tables keep them apart
    assert (plain["mode"], filtered["mode"]) == ("min, clean", "min, clean, high-pass 300 Hz")
    assert conditions_of(plain).slug != conditions_of(filtered).slug
    [first, _] = read_scores(filtered, "model_order_by_tracker")
    telephone = Mixture("a", high_pass(mixtures[0].references, 300.0, 16000))
    expected = score_estimates(telephone, telephone.references)
    assert first["source_1_input_si_snr"] == pytest.approx(expected["source_1_input_si_snr"], abs=0.01)
    unfiltered = score_estimates(mixtures[0], mixtures[0].references)
    assert abs(unfiltered["source_1_input_si_snr"] - expected["source_1_input_si_snr"]) > 0.1


def test_the_high_pass_filters_the_noise_too(mixtures):
    noise = torch.randn(mixtures[0].references.shape[1], generator=torch.Generator().manual_seed(0))
    noisy = Mixture("a", mixtures[0].references, noise)
    filtered = Transmission(high_pass_hz=300.0).carry(noisy, 16000)
    torch.testing.assert_close(filtered.waveform, high_pass(noisy.waveform, 300.0, 16000), rtol=0, atol=1e-5)
    assert filtered.mixture_id == "a"


def test_voices_can_share_a_spectrum_and_a_high_pass(waveform_checkpoint, tmp_path, mixtures):
    shared = run(waveform_checkpoint, tmp_path / "shared", "--shared-spectrum")
    both = run(waveform_checkpoint, tmp_path / "both", "--shared-spectrum", "--high-pass", 300)
    assert shared["mode"] == "min, clean, shared spectrum"
    assert both["mode"] == "min, clean, shared spectrum, high-pass 300 Hz"
    [first, _] = read_scores(both, "model_order_by_tracker")
    matched = match_spectra(high_pass(mixtures[0].references, 300.0, 16000), 16000)
    expected = score_estimates(Mixture("a", matched), matched)
    assert first["source_1_input_si_snr"] == pytest.approx(expected["source_1_input_si_snr"], abs=0.01)
    # the effect keeps the level of every voice, and noise keeps its own spectrum
    noise = torch.ones(mixtures[0].references.shape[1])
    carried = Transmission(shared_spectrum=True).carry(Mixture("a", mixtures[0].references, noise), 16000)
    assert carried.rest is noise
    torch.testing.assert_close(carried.references.norm(dim=1), mixtures[0].references.norm(dim=1))


def test_each_voice_can_pass_through_a_codec(waveform_checkpoint, tmp_path, mixtures):
    coded = run(waveform_checkpoint, tmp_path / "coded", "--codec", "gsm", "--high-pass", 300)
    assert coded["mode"] == "min, clean, high-pass 300 Hz, codec gsm"
    [first, _] = read_scores(coded, "model_order_by_tracker")
    voices = torch.stack([transmit(voice, "gsm", 16000) for voice in high_pass(mixtures[0].references, 300.0, 16000)])
    expected = score_estimates(Mixture("a", voices), voices)
    assert first["source_1_input_si_snr"] == pytest.approx(expected["source_1_input_si_snr"], abs=0.01)
    # the noise is that of the place where the mixture is heard
    noise = torch.ones(mixtures[0].references.shape[1])
    assert Transmission(codec="gsm").carry(Mixture("a", mixtures[0].references, noise), 16000).rest is noise


def test_the_oracle_needs_no_model_and_has_both_masks(tmp_path):
    arguments = [
        "--oracle",
        "0.5",
        "--root",
        SAMPLES / "speech",
        "--metadata",
        SAMPLES / "valid.csv",
        "--output",
        tmp_path,
    ]
    run_evaluation.main([str(word) for word in arguments])
    results = json.loads((tmp_path / "results.json").read_text())
    assert set(results["rows"]) == {
        "oracle_order_by_tracker",
        "oracle_order_by_references",
        "oracle_order_by_references_binary",
    }
    assert results["chunk_length"] == 8000 and results["weights"] is None
    # masks of true magnitudes, soft or hard, are worth about the same
    scores = [
        results["rows"][name]["si_snri"]
        for name in ("oracle_order_by_references", "oracle_order_by_references_binary")
    ]
    assert min(scores) > 8 and abs(scores[0] - scores[1]) < 3


def test_the_results_tell_the_voices_apart(tmp_path):
    rows = list(csv.DictReader((SAMPLES / "valid.csv").read_text().splitlines()))
    with open(tmp_path / "valid.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0], "source_1_speaker", "source_1_sex", "source_2_sex"])
        writer.writeheader()
        writer.writerows(
            row | {"source_1_speaker": "reader", "source_1_sex": "F", "source_2_sex": "M"} for row in rows
        )
    arguments = ["--oracle", "1", "--root", SAMPLES / "speech", "--metadata", tmp_path / "valid.csv"]
    run_evaluation.main([str(word) for word in [*arguments, "--num-workers", 0, "--output", tmp_path]])
    for score in read_scores(read_results(tmp_path / "results.json"), "oracle_order_by_tracker"):
        assert (score["source_1_sex"], score["source_2_sex"]) == ("F", "M")
        # where the autocorrelation of most of their frames is largest
        assert 75 < score["source_1_f0_hz"] < 110 and 110 < score["source_2_f0_hz"] < 190


@pytest.mark.slow
def test_two_processes_give_the_results_of_one(checkpoint, evaluation, tmp_path):
    one = read_results(evaluation[0] / "results.json")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone", "-m"]
    command += ["training.run_evaluation", "--model", checkpoint, "--root", SAMPLES / "speech"]
    command += ["--metadata", SAMPLES / "valid.csv", "--output", tmp_path / "two", "--num-speakers", "outputs"]
    # where there is nothing else, they take the CPU by themselves
    command += ["--device", "cpu"] if torch.accelerator.is_available() else []
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.run(
        [str(word) for word in command], env=environment, cwd=Path(__file__).parents[2], capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    two = json.loads((tmp_path / "two" / "results.json").read_text())
    assert (one["num_processes"], two["num_processes"]) == (1, 2) and list(one["rows"]) == list(two["rows"])
    for name in one["rows"]:
        # other batch sizes round differently
        assert one["rows"][name]["si_snri"] == pytest.approx(two["rows"][name]["si_snri"], abs=1e-3)
    for name in ("oracle_order_by_tracker", "model_order_by_tracker"):
        for first, second in zip(read_scores(one, name), read_scores(two, name), strict=True):
            assert first == pytest.approx(second, abs=0.011)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--num-mixtures", "0"], "--num-mixtures is 0"),
        (["--root", "nowhere"], "nowhere"),
        (["--device", "abacus"], "abacus"),
        (["--model", "nobody/nothing"], "nobody/nothing"),
        (["--num-workers", "-1"], "--num-workers is -1"),
        (["--shared-spectrum", "--mix-type", "mix_single"], "--shared-spectrum needs two voices"),
        (["--high-pass", "19"], "--high-pass is 19"),
        (["--high-pass", "8000"], "--high-pass is 8000: it must be at least 20 Hz and below 8000 Hz"),
        (["--high-pass", "nan"], "--high-pass is nan"),
        (["--metadata", str(SAMPLES / "README.md")], "README.md"),
        (["--oracle", "0.5"], "--oracle: not allowed with argument --model"),
        (["--num-speakers", "0"], "`num_speakers` is 0: it must be a whole number of at least 1"),
        (["--num-speakers", "auto"], "'auto' is neither a whole number nor outputs"),
        (["--max-speakers", "2"], "`max_speakers` (2) bounds the people who are found: leave out 'outputs'"),
    ],
)
def test_bad_options_are_named_before_any_work(checkpoint, tmp_path, capsys, monkeypatch, options, message):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(SystemExit):
        run(checkpoint, tmp_path / "out", *options)
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_oracle_of_one_source_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        run_evaluation.main(
            ["--oracle", "0.5", "--tree", "t", "--mix-type", "mix_single", "--output", str(tmp_path / "out")]
        )
    assert "--oracle needs two sources, but --mix-type mix_single has one" in capsys.readouterr().err


def test_a_model_of_a_run_has_the_name_of_the_run(tmp_path, monkeypatch):
    (tmp_path / "runs" / "galr" / "best").mkdir(parents=True)
    (tmp_path / "plain").mkdir()
    monkeypatch.chdir(tmp_path)
    assert name_run("runs/galr/best") == name_run("runs/galr/best/") == "galr"
    assert [name_run(name) for name in ("plain", "galr-cpu", "someone/best")] == [
        "plain",
        "galr-cpu",
        "best",
    ]


@pytest.mark.parametrize(
    ("seconds", "message"),
    [("0", "--oracle is 0"), ("nan", "--oracle is nan"), ("0.3", "--oracle is 0.3 s, 4800 samples")],
)
def test_an_oracle_with_no_such_chunks_is_refused(tmp_path, capsys, seconds, message):
    with pytest.raises(SystemExit):
        run_evaluation.main(
            ["--oracle", seconds, "--root", str(SAMPLES / "speech"), "--output", str(tmp_path / "out")]
        )
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_a_model_with_weights_that_are_nan_is_named_before_any_work(waveform_checkpoint, tmp_path, capsys):
    folder = shutil.copytree(waveform_checkpoint, tmp_path / "diverged")
    weights = load_file(folder / "model.safetensors")
    next(iter(weights.values())).fill_(torch.nan)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SystemExit):
        run(folder, tmp_path / "out")
    assert "diverged' cannot be loaded: 1 of its tensors hold NaN or infinite values" in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("*"))


def test_a_score_that_is_nan_is_named_with_its_mixture_and_row():
    row = Row("model_order_by_tracker", model=None, protocol="order_by_tracker")
    with pytest.raises(SystemExit, match=r"the score of m1 in model_order_by_tracker is nan"):
        check_score(row, {"mixture_id": "m1", "si_snri": float("nan")})


@pytest.mark.parametrize("num_workers", ["0", "1"])
def test_a_file_that_cannot_be_decoded_is_named_in_one_line(waveform_checkpoint, tmp_path, capsys, num_workers):
    speech = shutil.copytree(SAMPLES / "speech", tmp_path / "speech")
    for path in speech.rglob("*.flac"):
        path.write_bytes(path.read_bytes()[:20000])
    with pytest.raises(SystemExit):
        run(waveform_checkpoint, tmp_path / "out", "--root", speech, "--num-workers", num_workers)
    *_, line = capsys.readouterr().err.strip().splitlines()
    assert re.match(r".*error: .*\.csv, row \d: .*\.flac cannot be read as audio", line)
    assert list((tmp_path / "out").iterdir()) == []


def test_estimates_that_are_not_finite_end_an_evaluation_in_one_sentence(
    waveform_checkpoint, tmp_path, capsys, monkeypatch
):
    separate = DualPathForAudioSeparation.forward

    def overflow(self, *arguments, **options):
        outputs = separate(self, *arguments, **options)
        outputs.estimates.fill_(float("nan"))
        return outputs

    monkeypatch.setattr(DualPathForAudioSeparation, "forward", overflow)
    with pytest.raises(SystemExit):
        run(waveform_checkpoint, tmp_path / "out")
    *_, line = capsys.readouterr().err.strip().splitlines()
    assert re.match(r".*error: Scoring stops at the first mixture: The model's estimates hold NaN", line)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_model_of_one_source_separates_no_single_voice_from_noise(checkpoint, tmp_path, capsys):
    folder = shutil.copytree(checkpoint, tmp_path / "one")
    config = json.loads((folder / "config.json").read_text()) | {"num_slots": 1}
    AudioSlotsForAudioSeparation(AudioSlotsConfig.from_dict(config)).save_pretrained(folder)
    with pytest.raises(SystemExit):
        run(folder, tmp_path / "out", "--mix-type", "mix_single", "--noise-root", SAMPLES)
    assert "its estimate is the mixture itself" in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.fixture
def network_clock(monkeypatch):
    """The clock of evaluations advances by a second with each call of a network, and never else."""
    calls = []
    monkeypatch.setattr(Stopwatch.__init__, "__defaults__", (lambda: float(len(calls)),))
    hook = torch.nn.modules.module.register_module_forward_pre_hook(lambda *_: calls.append(1))
    yield
    hook.remove()


@pytest.mark.usefixtures("network_clock")
def test_people_are_found_by_default_and_scored_in_a_row_of_their_own(waveform_checkpoint, tmp_path, capsys):
    results = evaluate(waveform_checkpoint, tmp_path / "people", "--num-mixtures", "1")
    assert list(results["rows"]) == ["model_order_by_tracker", "model_order_by_references", "model_people"]
    row = results["rows"]["model_people"]
    assert row["protocol"] == "people" and row["num_mixtures"] == 1 and not {"num_speakers", "max_speakers"} & set(row)
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("model_people")]
    # a random model gives twice the mixture, which is one voice
    assert "1 missed, 0 false tracks" in line and (row["num_missed"], row["num_false"]) == (1, 0)
    # the time of all networks, whatever they compute, is that of the model
    assert results["process_seconds"]["model"] > 0 and results["share_outside_model"] == 0
    table = format_results([read_results(tmp_path / "people" / "results.json")])
    assert "| people told apart |" in table and f"| {row['si_snri']:.2f}; sources without a track: 1 |" in table


def test_the_number_of_people_may_be_given_or_bounded(waveform_checkpoint, tmp_path, monkeypatch):
    plans = []
    monkeypatch.setattr(run_evaluation, "evaluate_rows", lambda rows, *arguments: plans.append(rows) or 0.0)
    for options in (["--num-speakers", "3"], ["--max-speakers", "2"], ["--num-speakers", "outputs"]):
        evaluate(waveform_checkpoint, tmp_path / "out", *options)
    people = [[row.people.describe() for row in rows if row.name == "model_people"] for rows in plans]
    assert people == [[{"num_speakers": 3}], [{"max_speakers": 2}], []]


def test_without_a_voice_encoder_the_outputs_alone_are_scored(
    waveform_checkpoint, tmp_path, monkeypatch, caplog, capsys
):
    def fail(*args, **kwargs):
        raise OSError("no such folder")

    monkeypatch.setattr("audioslots_hf.voice_encoders.load_voice_encoder", fail)
    with caplog.at_level("WARNING"):
        results = evaluate(waveform_checkpoint, tmp_path / "out", "--num-mixtures", "1")
    assert set(results["rows"]) == {"model_order_by_tracker", "model_order_by_references"}
    assert "The sources are the outputs of the model" in caplog.text
    with pytest.raises(SystemExit):
        evaluate(waveform_checkpoint, tmp_path / "asked", "--num-speakers", "2")
    assert "The voice encoder that ships with the package" in capsys.readouterr().err


def test_people_are_not_found_by_what_hears_the_references(checkpoint, tmp_path, capsys):
    arguments = ["--oracle", "0.5", "--root", SAMPLES / "speech", "--num-speakers", "2", "--output", tmp_path / "out"]
    with pytest.raises(SystemExit):
        run_evaluation.main([str(word) for word in arguments])
    assert "--oracle hears the references, so there are no people to find" in capsys.readouterr().err
    folder = shutil.copytree(checkpoint, tmp_path / "one")
    config = json.loads((folder / "config.json").read_text()) | {"num_slots": 1}
    AudioSlotsForAudioSeparation(AudioSlotsConfig.from_dict(config)).save_pretrained(folder)
    with pytest.raises(SystemExit):
        evaluate(folder, tmp_path / "out", "--max-speakers", "2")
    assert "one hears the references" in capsys.readouterr().err
    assert "model_people" not in evaluate(folder, tmp_path / "out", "--num-mixtures", "1")["rows"]


def test_means_without_a_matched_source_are_called_so():
    means = {"si_snr": None, "si_snri": None, "num_missed": 2, "num_false": 0}
    expected = "no source has an estimate   of matched sources: 2 missed, 0 false tracks"
    assert run_evaluation.format_means("model_people", means).endswith(expected)


def test_a_model_of_waveforms_has_no_oracle_and_no_masks(waveform_checkpoint, evaluation, tmp_path):
    results = run(waveform_checkpoint, tmp_path / "galr")
    assert set(results["rows"]) == {"model_order_by_tracker", "model_order_by_references"}
    assert results["model_type"] == "galr" and not any("mask" in row for row in results["rows"].values())
    table = format_results([read_results(folder / "results.json") for folder in (tmp_path / "galr", evaluation[0])])
    names = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")][2:]
    assert names[0].endswith("(galr)") and names[1].startswith("oracle") and names[2].endswith("(audioslots)")
