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
import json

import numpy as np
import pytest
import torch

from audioslots_hf.shipped import DEFAULT_CHECKPOINT
from tests.conftest import AUDIOSLOTS_CHECKPOINT, SAMPLES
from training import report
from training.reporting import figure_2
from training.reporting.figures import plot_groups, plot_histogram
from training.reporting.groups import by_input_si_snr, by_pitch_distance, by_sex
from training.reporting.results import conditions_of, load_evaluations, read_results, read_scores, write_results
from training.reporting.sections import draw_figures, draw_learning_curves, load_series
from training.reporting.tables import format_results, format_table_1, format_waveform_families


# the conditions of the results here, as they name the figures
SLUG = "8_mixtures_of_list_csv_16000_Hz_min_clean"
PNG = b"\x89PNG\r\n\x1a\n"


def score(number: int, **values) -> dict:
    """A mixture of two voices, an octave or less apart."""
    sources = {
        f"source_{source}_{key}": value
        for source, sign in ((1, 1), (2, -1))
        for key, value in {"input_si_snr": 3.0 * sign, "si_snr": 9.0, "si_snri": 9 - 3.0 * sign}.items()
    }
    voices = {"source_1_f0_hz": 100.0, "source_2_f0_hz": 100.0 + 10 * number}
    return {
        "mixture_id": f"m{number}",
        "input_si_snr": 0.0,
        "si_snr": 9.0,
        "si_snri": 9.0,
        **sources,
        **voices,
        **values,
    }


def make_results(folder, rows, scores=None, **values):
    """A results file with rows of made-up means (SI-SNR a tenth above SI-SNRi)."""
    folder.mkdir(parents=True)
    results = {
        "model": folder.name,
        "model_type": "audioslots",
        "num_sources": 2,
        "weights": {"sha256": folder.name * 9, "num_parameters": 1234567},
        "macs_per_s": 2.5e9,
        "metadata": "list.csv",
        "sampling_rate": 16000,
        "mode": "min, clean",
        "chunk_length": 8000,
        "stft": {"n_fft": 512, "hop_length": 125},
        **values,
        "rows": {},
    }
    if results["model_type"] in ("galr", "dprnn"):
        del results["stft"]
    for name, si_snri in rows.items():
        mask = (
            {} if results["model_type"] in ("galr", "dprnn") else {"mask": "binary" if "binary" in name else "wiener"}
        )
        results["rows"][name] = {**mask, "num_mixtures": 8, "si_snr": si_snri + 0.1, "si_snri": si_snri}
    mixtures = scores or [score(number) for number in range(8)]
    write_results(folder / "results.json", results, dict.fromkeys(rows, mixtures))


@pytest.fixture
def evaluations(tmp_path):
    """One of each kind, but no AudioSlots of 1 s and no DPRNN."""
    oracle = {"model_type": "oracle", "weights": None, "macs_per_s": None}
    folder = tmp_path / "results"
    make_results(
        folder / "half",
        {"oracle_order_by_tracker": 12, "oracle_order_by_references": 11, "oracle_order_by_references_binary": 10},
        **oracle,
    )
    rows = {"oracle_order_by_tracker": 12.5, "oracle_order_by_references": 13, "oracle_order_by_references_binary": 12}
    make_results(folder / "one", rows, **oracle | {"chunk_length": 16000})
    make_results(
        folder / "coder",
        {"model_order_by_tracker": 8, "model_order_by_references": 9, "model_order_by_references_binary": 8.5},
        is_autoencoder=True,
    )
    make_results(folder / "slots", {"model_order_by_tracker": 5, "model_order_by_references": 6})
    make_results(
        folder / "local",
        {"model_order_by_tracker": 14, "model_order_by_references": 14.5},
        model_type="galr",
        chunk_length=64000,
    )
    return load_evaluations(folder)


def test_table_1_marks_rows_that_were_not_run(evaluations):
    assert format_table_1(evaluations) == (
        "| | model | IBM SI-SNR | IBM SI-SNRi | Wiener SI-SNR | Wiener SI-SNRi |\n"
        "| --- | --- | --- | --- | --- | --- |\n"
        "| Oracle 0.5 s | 0.5 s chunks, STFT 512/125 | 10.10 | 10.00 | 11.10 | 11.00 |\n"
        "| Autoencoder | `coder` | 8.60 | 8.50 | 9.10 | 9.00 |\n"
        "| AudioSlots | `slots` | not run | not run | 6.10 | 6.00 |\n"
        "| Oracle 1 s | 1 s chunks, STFT 512/125 | 12.10 | 12.00 | 13.10 | 13.00 |\n"
        "| AudioSlots 1 s | | not run | not run | not run | not run |\n"
    )


def test_oracles_of_another_stft_are_not_mixed_up(evaluations, tmp_path):
    rows = {"oracle_order_by_references": 3, "model_order_by_references": 2}
    make_results(tmp_path / "narrow", rows, stft={"n_fft": 256, "hop_length": 100})
    make_results(tmp_path / "same", rows)
    table = format_table_1([read_results(tmp_path / name / "results.json") for name in ("narrow", "same")])
    assert "| Oracle 0.5 s | 0.5 s chunks, STFT 256/100 | not run | not run | 3.10 | 3.00 |" in table
    assert "| Oracle 0.5 s | 0.5 s chunks, STFT 512/125 | not run | not run | 3.10 | 3.00 |" in table


def test_galr_stands_beside_the_dprnn_that_is_missing(evaluations):
    assert format_waveform_families(evaluations) == (
        "| | model | parameters | GMAC per s of audio | SI-SNRi, no reference "
        "| SI-SNRi, disjoint chunks, ordered by the references |\n"
        "| --- | --- | --- | --- | --- | --- |\n"
        "| GALR | `local` | 1,234,567 | 2.50 | 14.00 | 14.50 |\n"
        "| SlotGALR | | not run | not run | not run | not run |\n"
        "| DPRNN | | not run | not run | not run | not run |\n"
    )


def test_results_stand_in_one_table_from_the_best_down(evaluations):
    assert format_results(evaluations) == (
        "8 mixtures of `list.csv`, 16000 Hz, min, clean; SI-SNRi in dB, mean over all sources.\n"
        "\n"
        "| | parameters | no reference | disjoint chunks, ordered by the references |\n"
        "| --- | --- | --- | --- |\n"
        "| `local` (galr) | 1,234,567 | 14.00 | 14.50 |\n"
        "| oracle: true magnitudes, 1 s chunks, STFT 512/125, wiener masks | | 12.50 | 13.00 |\n"
        "| oracle: true magnitudes, 0.5 s chunks, STFT 512/125, wiener masks | | 12.00 | 11.00 |\n"
        "| `coder` (autoencoder: hears each reference alone) | 1,234,567 | 8.00 | 9.00 |\n"
        "| `slots` (audioslots) | 1,234,567 | 5.00 | 6.00 |\n"
        "\n"
        "sha256 of the weights: `local` locallocallocall, `coder` codercodercoderc, `slots` slotsslotsslotss.\n"
    )


def test_people_have_a_column_where_they_were_told_apart(evaluations):
    rows = evaluations[0]["rows"] | {
        "model_people": {"num_mixtures": 8, "si_snri": 9.876, "standard_error": 0.25, "num_missed": 2, "num_false": 0}
    }
    lines = format_results([evaluations[0] | {"rows": rows}, *evaluations[1:]]).splitlines()
    assert lines[0].endswith("SI-SNRi in dB, mean over all sources, of people over those that have a track.")
    assert lines[2].endswith("| disjoint chunks, ordered by the references | people told apart |")
    cells = [line.split(" | ")[-1] for line in lines[4:] if line.startswith("| ")]
    assert cells == ["9.88; sources without a track: 2 |", *["– |"] * 4]


def test_results_of_other_lists_have_a_table_of_their_own(evaluations):
    other = evaluations[0] | {"metadata": "other.csv"}
    tables = format_results([*evaluations[1:], other]).split("\n8 mixtures of ")
    assert len(tables) == 2 and tables[1].startswith("`other.csv`") and "`local`" not in tables[0].split("sha256")[0]


def test_a_list_as_it_is_stands_before_it_is_filtered(evaluations):
    filtered = [{**results, "mode": "min, clean, high-pass 300 Hz"} for results in evaluations]
    others = [{**results, "metadata": "other.csv"} for results in evaluations]
    text = format_results(filtered + others + evaluations)
    headers = [line.split("of ")[1] for line in text.splitlines() if " mixtures of " in line]
    assert [header.split(";")[0] for header in headers] == [
        "`list.csv`, 16000 Hz, min, clean",
        "`list.csv`, 16000 Hz, min, clean, high-pass 300 Hz",
        "`other.csv`, 16000 Hz, min, clean",
    ]


def test_lists_of_the_same_name_are_not_the_same(evaluations):
    other = evaluations[0] | {"metadata_sha256": "0123456789"}
    assert len(format_results([*evaluations[1:], other]).split("8 mixtures of `list.csv`")) == 3
    first, second = (conditions_of(results).slug for results in (evaluations[1], other))
    assert (first, second) == (f"{SLUG}", f"{SLUG}_01234567")


def test_models_of_the_same_name_are_not_the_same(evaluations, tmp_path):
    slots = next(results for results in evaluations if results["model"] == "slots")
    other = slots | {"weights": slots["weights"] | {"sha256": "0123456789"}}
    table = format_table_1([slots, other])
    assert "| AudioSlots | `slots slotsslo` |" in table and "| AudioSlots | `slots 01234567` |" in table
    assert set(load_series([slots, other])) == {"slots slotsslo", "slots 01234567"}
    # the same weights on two lists have one name
    assert set(load_series([slots, dict(slots)])) == {"slots"}


def test_the_report_has_all_tables_and_figures(evaluations, tmp_path):
    report.main(["--results", str(tmp_path / "results"), "--output", str(tmp_path / "out")])
    text = (tmp_path / "out" / "report.md").read_text()
    assert (
        format_table_1(evaluations) in text
        and format_waveform_families(evaluations) in text
        and "12 and 13 dB" in text
    )
    pictures = sorted(path.name for path in (tmp_path / "out").glob("*.png"))
    assert pictures == [f"{SLUG}_{kind}.png" for kind in ("histogram", "input_si_snr", "pitch_distance")]
    for picture in pictures:
        assert f"({picture})" in text and (tmp_path / "out" / picture).read_bytes().startswith(PNG)
    assert "By sex of the voices: missing in the results of `local`, " in text


def test_a_results_file_is_small_and_holds_the_mixtures_of_its_list_in_order(tmp_path):
    scores = [score(number, source_2_f0_hz=float("nan")) for number in range(300)]
    make_results(tmp_path / "many", {"model_order_by_tracker": 9, "model_order_by_references": 8}, scores=scores)
    path = tmp_path / "many" / "results.json"
    results = read_results(path)
    read = read_scores(results, "model_order_by_tracker")
    assert path.stat().st_size < 20_000 and len(read) == 300
    assert read[0] == {
        "source_1_input_si_snr": 3.0,
        "source_2_input_si_snr": -3.0,
        "source_1_f0_hz": 100.0,
        "source_2_f0_hz": None,
        "source_1_si_snri": 6.0,
        "source_2_si_snri": 12.0,
        "si_snri": 9.0,
    }
    assert "scores" not in results["rows"]["model_order_by_references"]


def test_the_standard_error_is_that_of_the_mean_over_the_mixtures(tmp_path):
    scores = [score(number, si_snri=float(value)) for number, value in enumerate([1, 2, 3, 4])]
    make_results(tmp_path / "four", {"model_order_by_tracker": 2.5, "model_order_by_references": 2.5}, scores=scores)
    make_results(
        tmp_path / "one", {"model_order_by_tracker": 1.0, "model_order_by_references": 1.0}, scores=scores[:1]
    )
    four, one = (
        read_results(tmp_path / name / "results.json")["rows"]["model_order_by_references"] for name in ("four", "one")
    )
    assert four["standard_error"] == pytest.approx(np.std([1, 2, 3, 4], ddof=1) / 2)
    assert "standard_error" not in one


def test_scores_are_grouped_by_properties_of_the_voices():
    same, fifth, octave = (score(0), score(5, source_1_sex="M", source_2_sex="F"), score(10, source_2_f0_hz=""))
    assert by_input_si_snr([same, fifth]) == {"-5 to -2.5": [12.0, 12.0], "2.5 to 5": [6.0, 6.0]}
    assert by_pitch_distance([{"si_snri": "9", "source_1_si_snri": "9", "source_1_f0_hz": "100"}]) == {}
    # 150 over 100 Hz is 7.02 semitones; mixtures without pitch are left out
    assert by_pitch_distance([same, fifth, octave]) == {"below 2": [9.0], "7 to 12": [9.0]}
    assert by_sex([same, fifth]) == {"F and M": [9.0]}


def test_figures_name_their_units_and_counts(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr("training.reporting.figures.save_figure", lambda figure, path: figures.append(figure))
    scores = [score(0), score(5)]
    plot_groups(
        tmp_path / "x.png", {"a": by_input_si_snr(scores), "b": by_input_si_snr(scores)}, "level, dB", "voices"
    )
    plot_histogram(tmp_path / "y.png", {"a": scores})
    groups, histogram = (figure.axes[0] for figure in figures)
    assert [label.get_text() for label in groups.get_xticklabels()] == ["-5 to -2.5\nn = 2", "2.5 to 5\nn = 2"]
    assert groups.get_xlabel() == "level, dB; n voices" and "dB" in groups.get_ylabel()
    assert len(groups.containers) == 2
    assert histogram.get_ylabel() == "mixtures per dB, of 2" and "dB" in histogram.get_xlabel()
    assert sum(patch.get_xy()[:, 1].max() for patch in histogram.patches) == 2


def test_groups_stand_over_their_labels_where_models_have_different_ones(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr("training.reporting.figures.save_figure", lambda figure, path: figures.append(figure))
    series = {
        "a": {"below 2": [1.0], "2 to 4": [2.0], "7 to 12": [3.0]},
        "b": {"12 and more": [5.0], "7 to 12": [4.0]},
    }
    plot_groups(tmp_path / "x.png", series, "distance", "mixtures")
    axes = figures[0].axes[0]
    labels = [label.get_text().split("\n")[0] for label in axes.get_xticklabels()]
    assert labels == ["below 2", "2 to 4", "7 to 12", "12 and more"]
    drawn = {container.get_label(): container.lines[0].get_xydata() for container in axes.containers}
    for name, groups in series.items():
        found = {labels[round(place)]: value for place, value in drawn[name]}
        assert found == {label: values[0] for label, values in groups.items()}


def test_many_models_stand_over_their_labels_apart_from_one_another(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr("training.reporting.figures.save_figure", lambda figure, path: figures.append(figure))
    groups = {"below 2": [1.0], "2 to 4": [2.0]}
    plot_groups(tmp_path / "x.png", {f"model {number}": groups for number in range(12)}, "distance", "mixtures")
    axes = figures[0].axes[0]
    drawn = [container.lines[0] for container in axes.containers]
    places = [place for line in drawn for place, value in line.get_xydata() if round(place) == value - 1]
    assert len(places) == len({round(place, 6) for place in places}) == 24
    left, right = axes.get_xlim()
    assert left < min(places) and max(places) < right
    assert len({(line.get_color(), line.get_marker()) for line in drawn}) == 12


def test_the_sexes_of_the_voices_are_drawn(tmp_path):
    lines = [score(0, source_1_sex="F", source_2_sex="M"), score(1, source_1_sex="F", source_2_sex="F")]
    parts = draw_figures(tmp_path, "list", {"a": lines})
    assert "![SI-SNRi by sex of the voices](list_sex.png)\n" in parts
    assert (tmp_path / "list_sex.png").read_bytes().startswith(PNG)


def test_figure_2_shows_mixture_references_and_estimates(evaluations, tmp_path, monkeypatch):
    tracks = {}
    monkeypatch.setattr(
        figure_2, "plot_separation", lambda path, drawn, rate: (tracks.update(drawn), path.write_bytes(PNG))
    )
    arguments = ["--results", tmp_path / "results", "--output", tmp_path / "out", "--root", SAMPLES / "speech"]
    arguments += ["--metadata", SAMPLES / "valid.csv", "--model", AUDIOSLOTS_CHECKPOINT]
    report.main([str(word) for word in arguments])
    titles = [title.split(":")[0] for title in tracks]
    expected = [
        "mixture 0880_0045",
        "reference 1",
        "reference 2",
        f"{AUDIOSLOTS_CHECKPOINT}, source 1",
        f"{AUDIOSLOTS_CHECKPOINT}, source 2",
    ]
    assert titles == expected
    mixture, first, second, *estimates = (torch.from_numpy(samples) for samples in tracks.values())
    torch.testing.assert_close(first + second, mixture)
    # masks add up to one, in float32
    torch.testing.assert_close(sum(estimates), mixture, rtol=0, atol=1e-4)
    assert (tmp_path / "out" / "separation.png").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", DEFAULT_CHECKPOINT], "--model and --root"),
        (["--autoencoder", "x"], "--autoencoder x is drawn in Figure 2: pass --model"),
        (["--results", "nowhere"], "--results nowhere holds no folder"),
        (["--model", DEFAULT_CHECKPOINT, "--root", "nowhere"], "nowhere"),
        (
            [
                "--model",
                DEFAULT_CHECKPOINT,
                "--root",
                str(SAMPLES / "speech"),
                "--autoencoder",
                AUDIOSLOTS_CHECKPOINT,
            ],
            f"--autoencoder {AUDIOSLOTS_CHECKPOINT} separates 2 sources",
        ),
    ],
)
def test_bad_options_are_named_before_any_work(evaluations, tmp_path, capsys, options, message):
    with pytest.raises(SystemExit):
        report.main(["--results", str(tmp_path / "results"), "--output", str(tmp_path / "out"), *options])
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_results_are_found_however_deep_they_lie(evaluations, tmp_path):
    assert len(load_evaluations(tmp_path)) == len(evaluations)


def test_scores_that_are_missing_are_named(evaluations, tmp_path, capsys):
    path = tmp_path / "results" / "slots" / "results.json"
    results = json.loads(path.read_text())
    del results["rows"]["model_order_by_tracker"]["scores"]
    path.write_text(json.dumps(results))
    with pytest.raises(SystemExit):
        report.main(["--results", str(tmp_path / "results"), "--output", str(tmp_path / "out")])
    assert "slots/results.json is not a results.json" in capsys.readouterr().err.replace("\n", " ")


def test_a_file_that_is_no_results_file_is_named(tmp_path):
    for text in ("{", "[]", '{"rows": {}}'):
        (tmp_path / "results.json").write_text(text)
        with pytest.raises(ValueError, match="results.json is not a results.json"):
            read_results(tmp_path / "results.json")


def test_the_learning_curve_of_a_run_shows_loss_and_validation(tmp_path, monkeypatch):
    lines = [{"step": step, "loss": -float(step) - 900} for step in range(1, 101)]
    lines += [
        {"step": 50, "valid_si_snri": 1.5},
        {"step": 75, "valid_si_snri": float("nan")},
        {"step": 100, "valid_si_snri": 2.5},
    ]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    figures = []
    monkeypatch.setattr("training.reporting.figures.save_figure", lambda figure, path: figures.append((figure, path)))
    section = draw_learning_curves(tmp_path, [tmp_path / "run" / "log.jsonl"])
    [(figure, path)] = figures
    loss, validation = figure.axes
    assert path.name == "run_learning_curve.png" and f"({path.name})" in section and "dB" in validation.get_ylabel()
    np.testing.assert_array_equal(loss.lines[0].get_ydata(), -np.arange(901, 1001))
    # a mean over five steps, fewer at the ends, of a straight line
    np.testing.assert_allclose(loss.lines[1].get_ydata()[2:-2], -np.arange(903, 999))
    # a run that begins with trained weights would be a flat line if the axis went on to zero
    assert loss.get_ylim()[1] < -890
    assert validation.lines[0].get_xydata().tolist() == [[50, 1.5], [100, 2.5]]
