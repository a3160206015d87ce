"""A table of a study file: no unknown keys, no loose types, and faults that name their key."""

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

Key = tuple[str | int, ...]
Fault = tuple[Key, str]  # where in the table, and what is wrong there


class Table(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
        validate_by_name=False,
        validate_by_alias=True,
        serialize_by_alias=True,
    )


def refuse(faults: Iterable[Fault]) -> None:
    """Inside a pydantic validator: name every fault with its key, instead of the first one alone."""
    errors = [
        InitErrorDetails(type=PydanticCustomError("fault", "{text}", {"text": text}), loc=key, input=None)
        for key, text in faults
    ]
    if errors:
        raise ValidationError.from_exception_data("study", errors)
