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
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import ModelCard

from audioslots_hf import GalrConfig, GalrForAudioSeparation
from audioslots_hf.card_results import (
    check_weights,
    format_conditions,
    format_evaluations,
    list_eval_results,
    load_conversations,
    load_results,
)
from audioslots_hf.cards import format_snippet, load_facts, make_card
from audioslots_hf.publishing import PACKAGED_SAMPLES
from tests.conftest import TINY_DUAL_PATH


FACTS = "license: mit\ndata:\n- {name: my voices, license: CC BY 4.0, note: two hours}\n"


def evaluation(metadata="list.csv", mode="min, clean", si_snri=9.876, **row) -> dict:
    row = {"num_mixtures": 4, "si_snr": 1.0, "si_snri": si_snri} | row
    rows = {"model_order_by_tracker": row, "model_order_by_references": row}
    return {"metadata": metadata, "mode": mode, "weights": {"sha256": "a" * 64}, "rows": rows}


def conversation(own_track, si_sdri) -> dict:
    return {"own_track": own_track, "si_sdri": si_sdri}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return GalrForAudioSeparation(GalrConfig(**TINY_DUAL_PATH, summary_length=4, num_attention_heads=2))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "card.yaml").write_text(FACTS)
    return tmp_path


def test_a_card_says_for_whom_first_and_its_metadata_survive_the_hubs_own_parser(folder, model):
    (folder / "results.json").write_text(
        json.dumps([evaluation(standard_error=0.5), evaluation(mode="max, mix_both")])
    )
    card = ModelCard(str(make_card(folder, "mine", model, "b" * 64, "me/mine", sample="Two readers.")))
    text = card.text
    headings = [
        "**Intended use**",
        "**Out of scope**",
        "## Listen",
        "## Use",
        "## Results",
        "## Limits",
        "## Training",
    ]
    headings += ["**Compute**: not stated.", "## Misuse and consent", "## Licence"]
    places = [text.index(heading) for heading in headings]
    assert places == sorted(places)
    data = card.data
    assert (data.license, data.pipeline_tag, data.library_name) == ("mit", "audio-to-audio", "transformers")
    assert {"source-separation", "galr"} <= set(data.tags) and data.model_name == "mine"
    found = [(result.metric_value, result.dataset_name, result.dataset_config) for result in data.eval_results]
    assert found == [(9.88, "list", "min, clean"), (9.88, "list", "max, mix_both")]
    for file in ("mixture", "mixture_source_0", "mixture_source_1"):
        assert (
            f'<audio controls src="https://huggingface.co/me/mine/resolve/main/samples/{file}.flac"></audio>' in text
        )
    assert "samples/mixture_separation.png)" in text and "Two readers." in text
    assert format_snippet("me/mine") in text and "| my voices | CC BY 4.0 | two hours |" in text
    assert f"{model.num_parameters():,} parameters and works at 8 kHz" in text
    # no empty line more than Markdown needs
    assert "\n\n\n" not in text.strip()


def test_a_card_without_results_or_a_repository_has_no_number_and_no_player(folder, model):
    text = str(make_card(folder, "mine", model, "b" * 64))
    assert "No scores were measured" in text and "<audio" not in text and "model-index" not in text
    assert text.count("not measured") == 6 and 'load_separator("mine")' in text


def test_the_facts_of_the_owner_take_their_places(folder, model):
    facts = {
        "title": "a title",
        "uses": "a use.",
        "not_for": "another.",
        "training": "Long text.",
        "compute": "One core.",
    }
    facts |= {"limits": ["quiet voices", "loud music"], "attribution": "Thanks.", "sample": "Me.", "tags": ["mine"]}
    (folder / "card.yaml").write_text(FACTS + yaml.safe_dump(facts))
    card = ModelCard(str(make_card(folder, "mine", model, "b" * 64, "me/mine", sample="Others.")))
    for part in (
        "# mine: a title",
        "**Intended use**: a use.",
        "**Out of scope**: another.",
        "**Compute**: One core.",
    ):
        assert part in card.text
    assert "* quiet voices\n* loud music\n" in card.text and "Weights: mit. Thanks." in card.text
    assert "Me." in card.text and "Others." not in card.text and "mine" in card.data.tags


@pytest.mark.parametrize(
    "text, message",
    [
        (None, r"card.yaml is missing.*\nlicense: apache-2.0\ndata:"),
        ("license: [", "card.yaml is not valid YAML"),
        ("- a", "must hold names and values"),
        ("license: mit", "lacks 'data'"),
        ("data: [{name: a, license: b}]", "lacks 'license'"),
        (FACTS + "licence: mit", "has 'licence', which is none of license, data"),
        (FACTS + "limits: none", "'limits' in .* is 'none': it must be a list"),
        (FACTS + "compute: 3", "'compute' in .* is 3: it must be text"),
        ("license: mit\ndata: [my voices]", "'data' in .* holds 'my voices': it needs `name` and `license`"),
        ("license: mit\ndata: [{name: my voices}]", "it needs `name` and `license`"),
    ],
)
def test_facts_that_are_missing_or_wrong_are_named(tmp_path, text, message):
    if text is not None:
        (tmp_path / "card.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        load_facts(tmp_path)


@pytest.mark.parametrize(
    "content, message",
    [
        ("{", "results.json is not valid JSON"),
        ("{}", "is not a results file of training.run_evaluation"),
        ('[{"metadata": "a", "mode": "b", "rows": {}}]', "model_order_by_tracker"),
    ],
)
def test_results_of_another_form_are_named(tmp_path, content, message):
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        load_results(tmp_path)
    (tmp_path / "conversations.json").write_text('{"lists": {"2 voices": {}}}')
    with pytest.raises(ValueError, match="is not a result of training.benchmark conversations"):
        load_conversations(tmp_path)


def test_voices_that_are_never_alone_have_no_share(tmp_path):
    lists = {"a, 2 voices, 5 s": conversation(None, 8.0), "b, 2 voices, 5 s": conversation(0.5, 6.0)}
    options = {"model": "mine", "num_speakers": "auto", "online": False, "passes": 1}
    path = tmp_path / "conversations.json"
    path.write_text(json.dumps(options | {"lists": lists}))
    table = format_conditions([], load_conversations(tmp_path), {})
    assert "| people told apart: 50 % of the speech on its own track, 7.0 dB SI-SDRi |" in table
    del lists["b, 2 voices, 5 s"]
    path.write_text(json.dumps(options | {"lists": lists}))
    assert "| people told apart: 8.0 dB SI-SDRi |" in format_conditions([], load_conversations(tmp_path), {})


def test_a_mean_of_conversations_says_of_which_overlaps_voices_and_rooms_it_is(tmp_path):
    names = ["a, 2 voices, 60 s, overlap 0 %", "a, 2 voices, 60 s, overlap 20 %"]
    names += ["a, 2 voices, 60 s, overlap 20 %, room 0.3 s", "a, 3 voices, 60 s, overlap 20 %, room 0.5 s"]
    result = {"model": "mine", "num_speakers": "auto", "online": False, "passes": 1}
    (tmp_path / "conversations.json").write_text(
        json.dumps(result | {"lists": {name: conversation(0.5, 6.0) for name in names}})
    )
    table = format_conditions([], load_conversations(tmp_path), {})
    rows = dict(line.strip("| ").split(" | ") for line in table.splitlines()[2:])
    assert rows["conversation of two"].endswith("; means of lists with overlaps of 0 and 20 %")
    assert rows["rooms"].endswith(
        "; means of lists with 2 and 3 voices, overlaps of 20 %, reverberation times of 0.3 and 0.5 s"
    )


def test_conversations_of_several_models_are_refused(tmp_path):
    options = {"num_speakers": "auto", "online": False, "passes": 1}
    results = [
        {"model": name, "lists": {"2 voices": conversation(0.9, 9.0)}} | options for name in ("mine", "another")
    ]
    (tmp_path / "conversations.json").write_text(json.dumps(results))
    with pytest.raises(ValueError, match="holds results of several models, another, mine: keep those of one"):
        load_conversations(tmp_path)


def test_scores_of_other_weights_are_refused(tmp_path):
    (tmp_path / "results.json").write_text(json.dumps([evaluation()]))
    check_weights(tmp_path, "a" * 64)
    with pytest.raises(ValueError, match="results.json holds scores of other weights .*evaluate the model again"):
        check_weights(tmp_path, "b" * 64)
    options = {"model": "mine", "num_speakers": "auto", "online": False, "passes": 1, "weights": {"sha256": "b" * 64}}
    (tmp_path / "conversations.json").write_text(
        json.dumps([{"lists": {"2 voices": conversation(0.9, 9.0)}} | options])
    )
    with pytest.raises(ValueError, match=r"conversations.json holds scores of other weights \(sha256 bbb"):
        check_weights(tmp_path, "a" * 64)


def test_one_evaluation_or_several_make_a_row_each(tmp_path):
    (tmp_path / "results.json").write_text(json.dumps(evaluation(standard_error=0.25)))
    [single] = load_results(tmp_path)
    assert (
        format_evaluations([single], {}).splitlines()[2]
        == "| `list.csv`, min, clean | 4 | 9.88 ± 0.25 | 9.88 ± 0.25 |"
    )
    oracle = evaluation()
    oracle["rows"]["oracle_order_by_tracker"] = {"si_snri": 12.0, "num_mixtures": 4}
    assert [line.split("|")[-2] for line in format_evaluations([single, oracle], {}).splitlines()[2:]] == [
        " – ",
        " 12.00 ",
    ]
    for people, cell in (
        (
            {"si_snri": 7.0, "standard_error": 0.5, "num_missed": 0, "num_false": 3},
            "7.00 ± 0.50; tracks without a source: 3",
        ),
        ({"si_snri": None, "num_missed": 8, "num_false": 0}, "no source has a track; sources without a track: 8"),
    ):
        told_apart = evaluation()
        told_apart["rows"]["model_people"] = {"num_mixtures": 4, **people}
        header, _, *lines = format_evaluations([single, oracle, told_apart], {}).splitlines()
        assert header.endswith("| people told apart | oracle |")
        assert [line.split("|")[-3].strip() for line in lines] == ["–", "–", cell]
    results = list_eval_results([single, evaluation(mode="max, clean")], {})
    assert len({result.unique_identifier for result in results}) == 2


def test_a_list_has_a_title_a_data_set_a_split_and_a_configuration():
    measured = [evaluation("libri2mix_test-clean.csv", mode="min, clean, shared spectrum"), evaluation()]
    titles = {"libri2mix_test-clean.csv": "Mixtures of mine", "list.csv": "My list"}
    first, other = list_eval_results(measured, titles)
    assert (first.dataset_type, first.dataset_name, first.dataset_split) == (
        "Mixtures_of_mine",
        "Mixtures of mine",
        "test",
    )
    assert first.dataset_config == "min, clean, shared spectrum"
    assert (other.dataset_type, other.dataset_name, other.dataset_split) == ("My_list", "My list", None)
    [untitled] = list_eval_results(measured[:1], {})
    assert (untitled.dataset_type, untitled.dataset_name) == ("libri2mix", "libri2mix")
    names = [line.split(" | ")[0] for line in format_evaluations(measured, titles).splitlines()[2:]]
    assert names == ["| Mixtures of mine (min, clean, shared spectrum)", "| My list (min, clean)"]


def test_conditions_are_measured_on_the_same_conversations_or_said_to_be_unknown(tmp_path):
    lists = {"a, 2 voices, 60 s": (0.5, 1.0), "b, 2 voices, 60 s": (0.9, 9.0), "a, 1 voice, 60 s": (1.0, None)}
    people = {"a, 2 voices, 60 s": (0.8, 7.25), "a, 1 voice, 60 s": (0.95, None)}
    room = {"a, 2 voices, 60 s, room 0.4 s": (0.25, -1.0)}
    # lists that tell nothing about the model as it is
    names = [
        f"{speech}, 2 voices, 60 s{place}{variant}"
        for place in ("", ", room 0.4 s")
        for speech, variant in (("a-valid", ""), ("a", ", panned by 3 dB"), ("a", ", truth: both"))
    ]
    variants = dict.fromkeys(names, (0.1, 3.0))
    results = [
        {"num_speakers": option, "online": is_online, "passes": passes}
        | {"lists": {name: conversation(*scores) for name, scores in found.items()}}
        for option, is_online, passes, found in (
            ("outputs", False, 1, lists | room | variants),
            ("auto", False, 1, people | room | variants),
            # other options than those of the default
            ("true", False, 1, lists),
            ("auto", True, 1, lists),
            ("auto", False, 2, lists),
        )
    ]
    (tmp_path / "conversations.json").write_text(json.dumps(results))
    evaluations = [evaluation(mode="min, mix_both", si_snri=5.0), evaluation("my_prompts.csv", si_snri=3.0)]
    table = format_conditions(evaluations, load_conversations(tmp_path), {})
    rows = dict(line.strip("| ").split(" | ") for line in table.splitlines()[2:])
    assert rows["conversation of two"] == (
        "people told apart: 80 % of the speech on its own track, 7.2 dB SI-SDRi; outputs of the model: 50 % of the speech on its "
        "own track, 1.0 dB SI-SDRi"
    )
    assert "95 % of the speech" in rows["one voice"] and "dB" not in rows["one voice"]
    assert rows["conversation of three"] == "not measured"
    assert rows["rooms"].startswith("people told apart: 25 % of the speech on its own track, -1.0 dB SI-SDRi")
    assert rows["noise"] == "`list.csv`, min, mix_both: 5.0 dB SI-SNRi"
    assert rows["telephone"] == "`my_prompts.csv`, min, clean: 3.0 dB SI-SNRi"
    # one alone
    (tmp_path / "conversations.json").write_text(json.dumps(results[1]))
    assert "outputs of the model" not in format_conditions([], load_conversations(tmp_path), {})


def test_the_sample_of_the_package_and_its_notice_are_those_of_the_repository():
    root = Path(__file__).parents[1]
    for packaged, original in (("two_voices.flac", "tests/samples/two_voices.flac"), ("NOTICE", "NOTICE")):
        assert (PACKAGED_SAMPLES / packaged).read_bytes() == (root / original).read_bytes()
