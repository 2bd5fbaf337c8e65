"""A unit as one Arrow row: how it travels between the stages (law 1). What is small and flat travels as JSON.

The Arrow types are read off the records, so that there is one definition of what a unit is. Pairs never travel:
the actor that made them commits them.
"""

from __future__ import annotations

import types
from dataclasses import fields, is_dataclass
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import orjson
import pyarrow as pa

from selfstudy.records import Unit

_SCALARS: dict[type, pa.DataType] = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
_STAYS_BEHIND = {Unit: frozenset({"pairs"})}
_Record = TypeVar("_Record")


def unit_to_table(unit: Unit) -> pa.Table:
    return pa.Table.from_pylist([_plain(unit)], schema=unit_schema())


def unit_from_table(table: pa.Table) -> Unit:
    """Read the only row of a table back. Raises ValueError if there are more: a batch holds one unit."""
    if table.num_rows != 1:
        raise ValueError(f"expected one unit in a batch, got {table.num_rows}")
    unit: Unit = _record(Unit, table.to_pylist()[0])
    return unit


def to_json(record: Any) -> str:
    return orjson.dumps(record).decode()


def from_json(kind: type[_Record], text: str) -> _Record:
    """Read back what `to_json` made of a record of this type, with the records in it."""
    record: _Record = _record(kind, orjson.loads(text))
    return record


@cache
def unit_schema() -> pa.Schema:
    return pa.schema(_arrow_fields(Unit))


@cache
def _hints(record: Any) -> dict[str, Any]:
    hints = get_type_hints(record)
    return {
        field.name: hints[field.name] for field in fields(record) if field.name not in _STAYS_BEHIND.get(record, ())
    }


def _arrow_fields(record: type) -> list[pa.Field]:
    return [pa.field(name, _arrow_type(hint)) for name, hint in _hints(record).items()]


def _arrow_type(hint: Any) -> pa.DataType:
    hint = _without_none(hint)
    if is_dataclass(hint):
        assert isinstance(hint, type)
        return pa.struct(_arrow_fields(hint))
    if get_origin(hint) is tuple:
        return pa.list_(_arrow_type(get_args(hint)[0]))
    if get_origin(hint) is dict:
        return pa.map_(pa.string(), pa.string())
    return pa.string() if issubclass(hint, StrEnum) else _SCALARS[hint]


def _without_none(hint: Any) -> Any:
    if get_origin(hint) in (types.UnionType, Union):
        return next(argument for argument in get_args(hint) if argument is not types.NoneType)
    return hint


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {name: _plain(getattr(value, name)) for name in _hints(type(value))}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return list(value.items())
    return value


def _record(hint: Any, value: Any) -> Any:
    if value is None:
        return None
    hint = _without_none(hint)
    if is_dataclass(hint):
        assert isinstance(hint, type)
        return hint(**{name: _record(inner, value[name]) for name, inner in _hints(hint).items()})
    if get_origin(hint) is tuple:
        inner = get_args(hint)[0]
        return tuple(_record(inner, item) for item in value)
    if get_origin(hint) is dict:
        return dict(value)
    return hint(value) if issubclass(hint, StrEnum) else value
