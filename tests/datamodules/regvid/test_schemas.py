"""Forms of answers: what a server that holds models to them lets through is what is read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from chat_models import properly
from datamodules.regvid import schemas
from datamodules.regvid.models import Role
from datamodules.regvid.parsing import read_list, read_object

REGIONS = "[1] ball\n[3] box"
FORMS: dict[Role, tuple[schemas.Schema, str]] = {
    "describe": (schemas.descriptions([1, 3]), REGIONS),
    "split": (schemas.claims(), "<description>\nA ball rolls, it is red, and it stops.\n</description>"),
    "judge": (schemas.verdicts([1, 2]), "1. Does it roll?\n2. Does it stop?"),
    "instruct": (schemas.talks([1, 3]), REGIONS),
}


def fits(value: Any, schema: Mapping[str, Any]) -> bool:
    """By hand, as far as these schemas go."""
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    match value:
        case None:
            return "null" in kinds
        case str():
            return "string" in kinds and value in schema.get("enum", [value])
        case list():
            return "array" in kinds and all(fits(item, schema["items"]) for item in value)
        case dict():
            inside = schema.get("properties", {})
            return set(value) == set(inside) and all(fits(value[name], inside[name]) for name in inside)
    return False


def strict(schema: Mapping[str, Any]) -> bool:
    """OpenAI's terms: nothing beside what is named, and all of that."""
    match schema["type"]:
        case "object":
            every = schema["required"] == list(schema["properties"]) and not schema["additionalProperties"]
            return every and all(map(strict, schema["properties"].values()))
        case "array":
            return strict(schema["items"])
    return True


@pytest.mark.parametrize("role", FORMS)
def test_a_proper_answer_has_the_form_of_its_role(role: Role) -> None:
    schema, text = FORMS[role]
    assert schema["type"] == "object" and strict(schema)
    said = json.loads(properly(role, text))
    said = {"claims": said} if role == "split" else said
    assert fits(said, schema)
    assert not fits({**said, "more": "x"}, schema)
    answer = json.dumps(said)
    assert len(read_list(answer)) == 3 if role == "split" else set(read_object(answer)) in ({1, 3}, {1, 2})
