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
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audioslots_hf import scoring
from audioslots_hf.cli import main
from tests.audio_helpers import noise, tones


RATE = 8000
NUM_SAMPLES = 4000
SOURCES = {"a": noise(2, NUM_SAMPLES), "b": noise(3, 3000, seed=1)}


def write(path: Path, samples: np.ndarray, rate: int = RATE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype="FLOAT")
    return path


@pytest.fixture
def folders(tmp_path) -> dict[str, Path]:
    """References as LibriMix has them, estimates with noise as `audioslots separate` writes them, and mixtures."""
    for name, references in SOURCES.items():
        write(tmp_path / "mixtures" / f"{name}.wav", references.sum(axis=0))
        for index, reference in enumerate(references):
            write(tmp_path / "references" / f"s{index + 1}" / f"{name}.wav", reference)
            estimate = reference + 0.3 * noise(len(reference), seed=10 + index)
            write(tmp_path / "estimates" / f"{name}_source_{index}.wav", estimate)
    return {name: tmp_path / name for name in ("estimates", "references", "mixtures")}


def test_json_prints_a_line_for_each_source_and_the_summary_without_nan(evaluate, monkeypatch):
    monkeypatch.setattr(scoring, "summarize_scores", lambda rows: {"si_snr": {"mean": float("nan")}})
    monkeypatch.setattr(scoring, "format_summary", str)
    status, output, _ = evaluate("--json")
    *rows, summary = map(json.loads, output.splitlines())
    assert status == 0 and summary == {"si_snr": {"mean": None}}
    assert [row["recording"] for row in rows] == [name for name in sorted(SOURCES) for _ in SOURCES[name]]
    assert all(isinstance(row["si_snri"], float) for row in rows)


def test_progress_is_shown_on_terminals_unless_the_run_is_quiet(evaluate, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    status, _, errors = evaluate()
    assert status == 0 and "Scoring: 100%" in errors
    assert evaluate("--quiet", "--force") == (0, "", "")


@pytest.fixture
def evaluate(folders, tmp_path, capsys, monkeypatch):
    """Run `audioslots evaluate`, without drawing -> exit status, stdout and stderr."""
    monkeypatch.setattr(scoring, "plot_scores", lambda path, scores: path.write_text(" ".join(scores)))

    def run(*arguments, **replaced: Path | None) -> tuple[int, str, str]:
        words = ["evaluate", *arguments]
        for name, folder in {**folders, "output": tmp_path / "out", **replaced}.items():
            words += [] if folder is None else [f"--{name}", folder]
        status = main([str(word) for word in words])
        return status, *capsys.readouterr()

    return run


def read_rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "scores.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_table_summary_and_printed_numbers_agree(evaluate, folders, tmp_path):
    status, output, errors = evaluate()
    rows = read_rows(tmp_path / "out")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text("utf-8"))
    assert status == 0 and "Scoring" not in errors
    assert [(row["recording"], row["source"]) for row in rows] == [
        *(("a", f"s{index}") for index in (1, 2)),
        *(("b", f"s{index}") for index in (1, 2, 3)),
    ]
    assert rows[1]["reference"] == str(folders["references"] / "s2" / "a.wav")
    assert rows[1]["estimate"] == str(folders["estimates"] / "a_source_1.wav")
    assert (summary["num_recordings"], summary["num_sources"]) == (2, 5)
    for name in ("si_snr", "si_snri", "sdr", "sdri"):
        values = [float(row[name]) for row in rows]
        assert summary[name] == pytest.approx({"mean": np.mean(values), "median": np.median(values)})
    lines = output.splitlines()
    assert lines[0].split() == ["5", "sources", "of", "2", "recordings", "mean", "median"]
    mean, median = summary["si_snri"].values()
    assert lines[2].split() == ["SI-SNRi", f"{mean:.2f}", "dB", f"{median:.2f}", "dB"]
    assert lines[-3:] == [str(tmp_path / "out" / name) for name in ("scores.csv", "summary.json", "scores.png")]
    assert (tmp_path / "out" / "scores.png").read_text() == "si_snr si_snri sdr sdri"
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_scores_are_those_of_independent_noise(evaluate, tmp_path):
    evaluate()
    for row in read_rows(tmp_path / "out"):
        # white noise at 0.3 of the level of the reference, and in the mixture one or two more references
        assert float(row["si_snr"]) == pytest.approx(-20 * np.log10(0.3), abs=0.5)
        of_mixture = {"a": 0.0, "b": -10 * np.log10(2)}[row["recording"]]
        assert float(row["si_snr"]) - float(row["si_snri"]) == pytest.approx(of_mixture, abs=0.5)


def test_perfect_files_score_high_and_swapped_ones_the_same(evaluate, folders, tmp_path):
    scores = []
    for order in (1, -1):
        for index, reference in enumerate(SOURCES["b"][::order]):
            write(tmp_path / "perfect" / "b" / f"track {index}.wav", reference)
        for index, reference in enumerate(SOURCES["a"][::order]):
            write(tmp_path / "perfect" / "a" / f"track {index}.wav", reference)
        assert evaluate("--force", estimates=tmp_path / "perfect")[0] == 0
        rows = read_rows(tmp_path / "out")
        scores.append([float(row["si_snr"]) for row in rows])
        names = [row["estimate"][-5] for row in rows]
        assert names == (list("01012") if order == 1 else list("10210"))
    assert min(scores[0]) > 100 and scores[0] == scores[1]


def test_without_mixtures_and_output_only_ratios_are_printed(evaluate, tmp_path):
    status, output, _ = evaluate(mixtures=None, output=None)
    assert status == 0 and [line.split()[0] for line in output.splitlines()] == ["5", "SI-SNR", "SDR"]
    assert not (tmp_path / "out").exists()


def test_every_mismatch_is_named_at_once(evaluate, folders, tmp_path):
    references, estimates = folders["references"], folders["estimates"]
    (estimates / "b_source_2.wav").unlink()
    (folders["mixtures"] / "b.wav").unlink()
    write(estimates / "a_source_0.wav", SOURCES["a"][0], 2 * RATE)
    write(estimates / "b_source_0.wav", SOURCES["b"][0, :-401])
    (estimates / "b_source_1.wav").write_text("no audio")
    write(references / "s1" / "only_reference.wav", noise(99))
    write(estimates / "only_estimate_source_0.wav", noise(99))
    write(estimates / "stray.wav", noise(99))
    status, output, errors = evaluate()
    named = [line for line in errors.splitlines() if line.startswith("  ")]
    expected = [
        f"{estimates / 'stray.wav'} is not named like NAME_source_0.wav",
        "only_reference has references but no estimates",
        "only_estimate has estimates but no references",
        f"a has several sampling rates, resample to one: {references / 's1' / 'a.wav'} 8000 Hz",
        f"b has no mixture in {folders['mixtures']}",
        "b has 3 references (s1, s2, s3) but 2 estimates (source_0, source_1)",
        f"{estimates / 'b_source_1.wav'} cannot be read as audio",
        f"{estimates / 'b_source_0.wav'} has 2599 samples, but the references of b have 3000",
    ]
    assert status == 1 and output == "" and not (tmp_path / "out").exists()
    assert "audioslots: error: The files do not belong together:" in errors
    assert len(named) == len(expected)
    for line, start in zip(named, expected, strict=True):
        assert line.startswith(f"  {start}")


@pytest.mark.parametrize("num_samples", [3980, 4020])
def test_a_few_samples_more_or_less_hardly_matter(evaluate, folders, tmp_path, num_samples):
    evaluate()
    expected = read_rows(tmp_path / "out")
    estimate, _ = soundfile.read(folders["estimates"] / "a_source_0.wav")
    write(folders["estimates"] / "a_source_0.wav", np.pad(estimate, (0, 20))[:num_samples])
    assert evaluate("--force")[0] == 0
    score, full_score = (float(rows[0]["si_snr"]) for rows in (read_rows(tmp_path / "out"), expected))
    if num_samples > NUM_SAMPLES:
        assert score == full_score
    else:
        # 20 of 4000 samples are silent now: 0.5 % of the signal is missing, where 9 % were noise already
        assert full_score - 0.5 < score < full_score


def test_channels_out_of_phase_and_an_offset_are_not_called_silent(evaluate, folders, caplog):
    reference, estimate = folders["references"] / "s1" / "a.wav", folders["estimates"] / "a_source_0.wav"
    write(reference, np.stack([noise(NUM_SAMPLES), -noise(NUM_SAMPLES)], axis=1))
    write(estimate, np.full(NUM_SAMPLES, 0.2, np.float32))
    assert evaluate("--force")[0] == 0
    assert f"{reference} has channels that cancel each other out in their mean: it has no scores" in caplog.text
    assert f"{estimate} holds nothing but a DC offset: it gets the lowest score" in caplog.text


def test_channels_are_averaged(evaluate, folders, tmp_path):
    evaluate()
    expected = read_rows(tmp_path / "out")
    estimate, _ = soundfile.read(folders["estimates"] / "a_source_0.wav", dtype="float32")
    write(folders["estimates"] / "a_source_0.wav", np.stack([1.5 * estimate, 0.5 * estimate], axis=1))
    assert evaluate("--force")[0] == 0
    assert float(read_rows(tmp_path / "out")[0]["si_snr"]) == pytest.approx(float(expected[0]["si_snr"]), abs=1e-4)


def test_a_silent_reference_has_no_scores_and_counts_in_no_mean(evaluate, folders, tmp_path, caplog):
    evaluate()
    before = read_rows(tmp_path / "out")
    path = write(folders["references"] / "s1" / "a.wav", np.zeros(NUM_SAMPLES))
    assert evaluate("--force")[0] == 0 and f"{path} is silent: it has no scores, and counts in no mean" in caplog.text
    rows = read_rows(tmp_path / "out")
    assert [row["reference"] for row in rows if row["si_snr"] == ""] == [str(path)]
    scored = [float(row["si_snr"]) for row in rows if row["si_snr"]]
    assert scored == pytest.approx([float(row["si_snr"]) for row in before if row["reference"] != str(path)], abs=1e-4)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["num_sources"] == len(scored) and summary["si_snr"]["mean"] == pytest.approx(np.mean(scored))


def test_references_that_are_all_silent_have_no_means(evaluate, folders, tmp_path):
    for path in folders["references"].rglob("*.wav"):
        write(path, np.zeros(soundfile.info(path).frames))
    status, output, _ = evaluate()
    assert status == 0 and "0 sources of" in output and "SI-SNR" not in output
    assert set(json.loads((tmp_path / "out" / "summary.json").read_text())) == {"num_recordings", "num_sources"}


def test_a_silent_estimate_is_the_worst_there_is(evaluate, folders, tmp_path, caplog):
    path = write(folders["estimates"] / "a_source_1.wav", np.zeros(NUM_SAMPLES))
    assert evaluate()[0] == 0 and f"{path} is silent: it gets the lowest score" in caplog.text
    scores = {row["estimate"]: float(row["si_snr"]) for row in read_rows(tmp_path / "out")}
    assert scores.pop(str(path)) == -150 and min(scores.values()) > 0


def test_a_file_that_breaks_off_is_named_and_the_others_are_scored(evaluate, folders, tmp_path):
    path = write(folders["estimates"] / "b_source_1.wav", np.full(3000, np.nan))
    status, output, errors = evaluate()
    names = {row["recording"] for row in read_rows(tmp_path / "out")}
    assert status == 1 and names and "b" not in names
    assert errors.endswith(
        f"\n1 of {len(names) + 1} recordings failed:\n  b: {path} holds NaN or infinite samples after sample 0.\n"
    )
    assert f"{2 * len(names)} sources of {len(names)} recordings" in output
    failed = json.loads(evaluate("--json", "--force")[1].splitlines()[0])
    assert (failed["recording"], failed["status"]) == ("b", "failed") and str(path) in failed["error"]
    for name in names:
        write(folders["estimates"] / f"{name}_source_0.wav", np.full(NUM_SAMPLES, np.nan))
    status, output, errors = evaluate("--force")
    assert status == 1 and output == "" and f"{len(names) + 1} of {len(names) + 1} recordings failed" in errors


@pytest.mark.parametrize("name", ["scores.csv", "summary.json", "scores.png"])
def test_results_are_not_overwritten_without_force(evaluate, tmp_path, name):
    mine = tmp_path / "out" / name
    mine.parent.mkdir()
    mine.write_text("mine")
    status, _, errors = evaluate()
    assert status == 1 and f"{mine} exists: pass --force" in errors and mine.read_text() == "mine"


def test_without_the_optional_packages_the_rest_is_scored(evaluate, tmp_path, monkeypatch):
    for package in ("torchmetrics", "matplotlib"):
        monkeypatch.setitem(sys.modules, package, None)
    status, output, _ = evaluate()
    assert status == 0 and 'SDR needs torchmetrics: pip install "audioslots-hf[metrics]"' in output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["scores.csv", "summary.json"]
    assert {row["sdr"] for row in read_rows(tmp_path / "out")} == {""}
    summary = json.loads((tmp_path / "out" / "summary.json").read_text("utf-8"))
    assert set(summary) == {"num_recordings", "num_sources", "si_snr", "si_snri"}


def test_tracks_of_separate_can_be_scored_unchanged(checkpoint, tmp_path):
    mixture = write(tmp_path / "in" / "c.wav", tones(6001, 44100) + noise(6001), 44100)
    for index, reference in enumerate((tones(6001, 44100), noise(6001))):
        write(tmp_path / "true" / f"c_{index}.wav", reference, 44100)
    words = [
        "separate",
        mixture,
        "-o",
        mixture.parent,
        "--model",
        checkpoint,
        "--device",
        "cpu",
        "--num-speakers",
        "outputs",
    ]
    assert main([str(word) for word in words]) == 0
    # the tracks lie beside their mixture, and the references have names of another kind
    folders = ["--estimates", mixture.parent, "--references", tmp_path / "true", "--mixtures", mixture.parent]
    assert main([str(word) for word in ["evaluate", *folders, "-o", tmp_path / "out"]]) == 0
    assert [row["source"] for row in read_rows(tmp_path / "out")] == ["0", "1"]
    assert (tmp_path / "out" / "scores.png").read_bytes().startswith(b"\x89PNG")
