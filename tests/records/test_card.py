"""The model card: typed, checked, and the same after a journey through JSON."""

import json

import pytest
from compared import scored
from hypothesis import given
from hypothesis import strategies as st

from neurobench_grasp import ModelCard, NgbError
from neurobench_grasp.leaderboard import rank_models
from neurobench_grasp.leaderboard.contamination import contamination
from neurobench_grasp.plugins import load_registry
from neurobench_grasp.records import from_json, to_json

FACTS = {
    "licence": "Apache-2.0",
    "authors": ("Ada Lovelace",),
    "citation": "",
    "action_space": "39 muscles",
    "training_data": ("dandi:000128",),
    "parameters": 205_485,
    "steps": 1_200_128,
    "compute": "13 min on one core",
    "seeds": (0, 1),
    "simulator": "MuJoCo 4.0.0",
}
lines = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=20)
counts = st.integers(0, 2**63 - 1)


@given(
    st.fixed_dictionaries(
        {
            "licence": st.sampled_from(["MIT", "CC0-1.0", "LicenseRef-Own", "MIT OR Apache-2.0"]),
            "authors": st.lists(lines, min_size=1, max_size=4, unique=True).map(tuple),
            "citation": st.just("") | lines,
            "action_space": lines,
            "training_data": st.lists(lines, max_size=4, unique=True).map(tuple),
            "parameters": counts,
            "steps": counts,
            "compute": lines,
            "seeds": st.lists(counts, max_size=4, unique=True).map(tuple),
            "simulator": lines,
        }
    )
)
def test_a_card_is_the_same_after_json_and_a_record_takes_it(facts):
    card = ModelCard(**facts)
    assert ModelCard.from_json(json.loads(json.dumps(card.to_json()))) == card
    record = to_json(scored("m").record) | {"card": card.to_json()}
    assert from_json(record).card == card.to_json()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("licence", "free for all"),
        ("licence", ""),
        ("licence", 1),
        ("authors", "Ada Lovelace"),
        ("authors", ()),
        ("authors", ("",)),
        ("authors", ("Ada", "Ada")),
        ("authors", (1,)),
        ("citation", None),
        ("citation", "x" * 2001),
        ("action_space", "39\nmuscles"),
        ("action_space", "\x1b[31mred"),
        ("simulator", "\u202egnp.exe"),
        ("simulator", "  "),
        ("training_data", ["demo"]),
        ("training_data", None),
        ("parameters", -1),
        ("parameters", True),
        ("parameters", 1.0),
        ("parameters", 2**63),
        ("steps", "many"),
        ("seeds", (0, -1)),
        ("seeds", (True,)),
        ("seeds", 3),
        ("compute", b"bytes"),
    ],
)
def test_a_field_that_is_not_what_it_should_be_is_named(field, value):
    with pytest.raises(NgbError, match=f"The field {field} of a model card must"):
        ModelCard(**FACTS | {field: value})


def test_unknown_and_missing_fields_are_refused_with_the_near_name():
    card = ModelCard(**FACTS).to_json()
    with pytest.raises(NgbError, match=r"no field 'license'; did you mean licence\?"):
        ModelCard.from_json({"license" if k == "licence" else k: v for k, v in card.items()})
    with pytest.raises(NgbError, match="no field 'x_1'; the fields are licence, authors"):
        ModelCard.from_json(card | {"x_1": 1})
    with pytest.raises(NgbError, match="lacks authors, steps"):
        ModelCard.from_json({k: v for k, v in card.items() if k not in ("authors", "steps")})
    with pytest.raises(NgbError, match="must be a mapping"):
        ModelCard.from_json([1])
    with pytest.raises(TypeError, match="wall_time"):
        ModelCard(**FACTS, wall_time=1)


def test_the_schema_of_records_knows_the_fields_of_a_card():
    record = to_json(scored("m").record)
    card = ModelCard(**FACTS).to_json()
    for field in FACTS:
        with pytest.raises(NgbError, match=r"\$\.card"):
            from_json(record | {"card": {k: v for k, v in card.items() if k != field}})
    with pytest.raises(NgbError, match=r"\$\.card.*'more' was unexpected"):
        from_json(record | {"card": card | {"more": 1}})
    assert from_json(record).card is None
    assert from_json(record).verification is None
    with pytest.raises(NgbError, match=r"\$\.verification\.level"):
        from_json(record | {"verification": {"level": "trusted", "how": "x"}})


def test_every_reference_model_has_a_card():
    cards = {p.spec.name: p.spec.card for p in load_registry().models()}
    assert {name for name, card in cards.items() if isinstance(card, ModelCard)} >= {
        "fixed_muscles", "linear_kinematic", "muscle_ppo", "permuted_muscles",
        "static_optimisation", "torque_ppo", "untrained"}  # fmt: skip


def test_the_parameters_of_the_networks_are_those_of_their_weights():
    from neurobench_grasp.controllers.files import read_arrays
    from neurobench_grasp.resources import resource

    cards = {p.spec.name: p.spec.card for p in load_registry().models()}
    for model in ("muscle_ppo", "torque_ppo"):
        arrays, _ = read_arrays(resource(f"registry/checkpoints/demo/{model}-0.safetensors"))
        scaling = sum(arrays[f"towers.{name}"].size for name in ("centre", "scale"))
        assert cards[model].parameters == sum(a.size for a in arrays.values()) - scaling
        network = json.loads(resource(f"registry/checkpoints/demo/{model}-0.json").read_text())
        assert cards[model].steps == network["steps"]


# --- contamination --------------------------------------------------------------------------------


def contaminated(training_data, **dataset):
    record = scored("m").record
    record = from_json(
        to_json(record)
        | {
            "card": ModelCard(**FACTS | {"training_data": training_data}).to_json(),
            "dataset": {**record.dataset, **dataset},
        }
    )
    return record, contamination(record)


SOURCE = {
    name: "x" for name in ("instance", "version", "path", "asset_id", "size", "dandi_etag", "sha256")
} | {"dandiset": "000128"}


@pytest.mark.parametrize(
    ("training_data", "dataset", "expected"),
    [
        ((), {}, False),
        (("data",), {}, True),
        (("Data",), {}, True),
        (("data2", "dat"), {}, False),
        (("dandi:000128",), {"source": [SOURCE]}, True),
        (("dandi:000128@0.22.1",), {"source": [SOURCE]}, True),
        (("DANDI:000128/sub-J*",), {"source": [SOURCE]}, True),
        (("dandi:000129",), {"source": [SOURCE]}, False),
        (("000128",), {"source": [SOURCE]}, False),
    ],
)
def test_a_score_on_what_the_model_learned_from_is_contaminated(training_data, dataset, expected):
    _, reason = contaminated(training_data, **dataset)
    assert bool(reason) == expected


def test_the_ranking_flags_it_and_says_why():
    from dataclasses import replace

    import numpy as np
    from compared import steady

    clean, dirty = scored("clean", steady(0.2)), scored("dirty", steady(0.3))
    card = ModelCard(**FACTS | {"training_data": ("data",)}).to_json()
    rows = rank_models([clean, replace(dirty, record=replace(dirty.record, card=card))])
    assert {row["model"]: row["contaminated"] for row in rows} == {"clean": False, "dirty": True}
    (reason,) = [row["reason"] for row in rows if row["contaminated"]]
    assert reason.startswith("its card names data as training data")
    assert np.isfinite([row["value"] for row in rows]).all()
