"""Base classes of all data that crosses the edge of the program."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Data(BaseModel):
    """Validated, frozen, and without unknown keys: a typing error in a file is an error, not a default."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Record(BaseModel):
    """One line of a JSONL file: frozen; unknown keys of a newer writer are kept out silently."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)

    def line(self) -> str:
        """The record as one line of JSON, keys in the order of the class."""
        return self.model_dump_json(by_alias=True, exclude_defaults=False)
