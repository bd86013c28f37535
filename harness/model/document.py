"""A cluster spec as a file has it: `LabSpec` with the header around it, and its schema."""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field

from harness.model.base import Data
from harness.model.spec import LabName, LabSpec

API_VERSION: Final = "cnilab.dev/v1"
KIND: Final = "Lab"


class Metadata(Data):
    """Who the cluster is."""

    name: LabName = Field(default="lab", description="Part of paths, cgroups and host names: a short DNS label")


class Document(Data):
    """A cluster spec as a file has it."""

    api_version: str = Field(alias="apiVersion", json_schema_extra={"const": API_VERSION})
    kind: str = Field(json_schema_extra={"const": KIND})
    metadata: Metadata = Metadata()
    spec: LabSpec = LabSpec()


def schema() -> dict[str, Any]:
    """JSON schema of a spec file, for editors."""
    described = Document.model_json_schema(by_alias=True)
    # A name lives in metadata; LabSpec has the field because everything below wants one object.
    described["$defs"]["LabSpec"]["properties"].pop("name", None)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"https://{API_VERSION}/lab.schema.json",
        **described,
        "title": "cnilab cluster spec",
    }
