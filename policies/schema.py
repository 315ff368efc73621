"""The JSON Schema of the policy file, for editors and for whoever writes policies by program."""

from __future__ import annotations

from typing import Any

from policies.document import PolicyDocument


def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a policy file; every field has a description.

    It says what pydantic's models say.  What needs more than a schema (bounded regexes, ids that stand
    once, sentences that are both `like` and `unlike`) only the loader tells.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **PolicyDocument.model_json_schema(mode="validation"),
        "title": "Lethe policy",
    }
