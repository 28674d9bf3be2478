"""`dataclass` and `record`: slotted dataclasses that cost little until the first of them is made.

The standard library writes and compiles six methods for each frozen dataclass when its module is imported: about half
a millisecond each, for some eighty that the first message of a process needs the names of, and not half as many
instances. Here a class gets its slots and the list of its fields at once, and each method is written when it is first
called. To the type checker both are `dataclasses.dataclass`. `fields`, `replace`, `asdict`, `match`, copying, pickling,
`pprint` and `inspect.signature` work as usual.

A `record` is a dataclass that nobody changes, where a message makes so many that guarding each costs as much as
sending: to the type checker it is frozen and an assignment an error, and at run time nothing stands guard.
"""

import dataclasses
import sys
from collections.abc import Callable
from dataclasses import field, replace
from inspect import Parameter, Signature
from types import MemberDescriptorType, SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

__all__ = ["dataclass", "field", "record", "replace"]

T = TypeVar("T")

if TYPE_CHECKING:
    from dataclasses import dataclass
    from dataclasses import dataclass as record
else:

    def dataclass(
        *,
        slots: bool,
        frozen: bool = False,
        kw_only: bool = False,
        eq: bool = True,
    ) -> Callable[[type[T]], type[T]]:
        """Make a dataclass like `dataclasses.dataclass`; `slots` is True."""
        assert slots, "what has no slots is a dataclass of the standard library"
        return lambda cls: _made(cls, frozen=frozen, kw_only=kw_only, eq=eq, is_hashed=eq and frozen)

    def record(
        *,
        frozen: bool,
        slots: bool,
        kw_only: bool = False,
        eq: bool = True,
    ) -> Callable[[type[T]], type[T]]:
        """Make a dataclass that is not guarded; `frozen` and `slots` are True."""
        assert frozen, "what may change is a plain dataclass"
        assert slots, "what has no slots is a dataclass of the standard library"
        # What is frozen and compared can be hashed, here as there.
        return lambda cls: _made(cls, frozen=False, kw_only=kw_only, eq=eq, is_hashed=eq)


_NONE: Any = dataclasses.MISSING
_FIELD: Any = dataclasses._FIELD  # type: ignore[attr-defined]
_FACTORY: Any = dataclasses._HAS_DEFAULT_FACTORY  # type: ignore[attr-defined] # shown as "<factory>"
# What the standard library's decorator was told, which `pprint` and libraries that derive dataclasses read.
_PARAMS = {"init": True, "repr": True, "order": False, "unsafe_hash": False, "match_args": True, "slots": True}
Write = Callable[[type], Callable[..., Any]]


def _made(cls: type[Any], *, frozen: bool, kw_only: bool, eq: bool, is_hashed: bool) -> type[Any]:
    """The class with slots and fields, and methods that are still to be written."""
    names = tuple(cls.__annotations__)
    namespace = dict(cls.__dict__)
    fields = {name: _field(name, cls.__annotations__[name], namespace.pop(name, _NONE), kw_only) for name in names}
    for left in (*names, "__dict__", "__weakref__"):
        namespace.pop(left, None)
    namespace |= {
        "__slots__": names,
        "__dataclass_fields__": fields,
        "__dataclass_params__": SimpleNamespace(**_PARAMS, eq=eq, frozen=frozen, kw_only=kw_only),
        "__match_args__": tuple(one.name for one in fields.values() if one.init and not kw_only),
    }
    if "__init__" not in namespace:
        namespace["__signature__"] = _Signature()
    if sys.version_info >= (3, 13):
        namespace["__replace__"] = _replaced
    if frozen:
        namespace |= {"__getstate__": _state, "__setstate__": _restore}
    is_told_hash = namespace.get("__hash__") is not None
    if eq and not is_told_hash:
        namespace["__hash__"] = None
    made: Any = type(cls)(cls.__name__, cls.__bases__, namespace)  # type: ignore[misc]
    made.__qualname__ = cls.__qualname__
    if frozen:
        _guard(made, fields)
    if "__init__" not in namespace:
        _defer(made, "__init__", _write_init)
    if "__repr__" not in namespace:
        _defer(made, "__repr__", _write_repr)
    if eq and "__eq__" not in namespace:
        _defer(made, "__eq__", _write_eq)
    if is_hashed and not is_told_hash:
        _defer(made, "__hash__", _write_hash)
    return made  # type: ignore[no-any-return]


def _field(name: str, annotation: Any, default: Any, kw_only: bool) -> "dataclasses.Field[Any]":
    one: Any = default if isinstance(default, dataclasses.Field) else field(default=default)
    one.name, one.type, one.kw_only, one._field_type = name, annotation, kw_only, _FIELD
    return one  # type: ignore[no-any-return]


def _defer(cls: type[Any], name: str, write: Write) -> None:
    """Let a method be written when it is first called."""

    def method(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        written = write(cls)
        setattr(cls, name, written)
        return written(self, *args, **kwargs)

    method.__name__, method.__qualname__, method.__module__ = name, f"{cls.__qualname__}.{name}", cls.__module__
    setattr(cls, name, method)


def _guard(cls: type[Any], fields: "dict[str, dataclasses.Field[Any]]") -> None:
    """Refuse to set or delete a field, as a frozen dataclass does."""

    def set_field(self: Any, name: str, value: Any) -> None:
        if type(self) is cls or name in fields:
            raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")
        super(cls, self).__setattr__(name, value)

    def delete_field(self: Any, name: str) -> None:
        if type(self) is cls or name in fields:
            raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")
        super(cls, self).__delattr__(name)

    cls.__setattr__, cls.__delattr__ = set_field, delete_field  # type: ignore[assignment]


def _write_init(cls: type[Any]) -> Callable[..., Any]:
    fields: tuple[dataclasses.Field[Any], ...] = dataclasses.fields(cls)
    is_frozen = cls.__dataclass_params__.frozen
    known: dict[str, Any] = {"_factory": _FACTORY}
    parameters, lines = [], []
    for one in fields:
        value = name = one.name
        if one.default is not _NONE:
            known[f"_default_{name}"] = one.default
            default = f"=_default_{name}"
            value = name if one.init else f"_default_{name}"
        elif one.default_factory is not _NONE:
            known[f"_factory_{name}"] = one.default_factory
            default = "=_factory"
            value = f"_factory_{name}() if {name} is _factory else {name}" if one.init else f"_factory_{name}()"
        elif one.init:
            default = ""
        else:
            continue  # set by __post_init__
        if one.init:
            parameters.append(name + default)
        if is_frozen:
            known[f"_set_{name}"] = _slot(cls, name).__set__  # past the guard
            lines.append(f"  _set_{name}(self, {value})")
        else:
            lines.append(f"  self.{name} = {value}")
    if hasattr(cls, "__post_init__"):
        lines.append("  self.__post_init__()")
    star = "*, " if parameters and fields[0].kw_only else ""
    return _compiled(cls, "__init__", f"self, {star}{', '.join(parameters)}", lines or ["  pass"], known)


def _write_repr(cls: type[Any]) -> Callable[..., Any]:
    shown = ", ".join(f"{one.name}={{self.{one.name}!r}}" for one in dataclasses.fields(cls) if one.repr)
    return _compiled(cls, "__repr__", "self", [f'  return f"{{self.__class__.__qualname__}}({shown})"'], {})


def _write_eq(cls: type[Any]) -> Callable[..., Any]:
    same = " and ".join(f"self.{one.name} == other.{one.name}" for one in _compared(cls)) or "True"
    lines = [
        "  if self is other: return True",
        f"  if other.__class__ is self.__class__: return {same}",
        "  return NotImplemented",
    ]
    return _compiled(cls, "__eq__", "self, other", lines, {})


def _write_hash(cls: type[Any]) -> Callable[..., Any]:
    values = "".join(f"self.{one.name}, " for one in _compared(cls) if one.hash is not False)
    return _compiled(cls, "__hash__", "self", [f"  return hash(({values}))"], {})


def _compared(cls: type[Any]) -> "list[dataclasses.Field[Any]]":
    return [one for one in dataclasses.fields(cls) if one.compare]


def _compiled(
    cls: type[Any], name: str, parameters: str, lines: list[str], known: dict[str, Any]
) -> Callable[..., Any]:
    text = f"def {name}({parameters}):\n" + "\n".join(lines)
    found: dict[str, Any] = {}
    exec(text, known, found)  # noqa: S102 - of names of fields alone, as the standard library does
    method: Callable[..., Any] = found[name]
    method.__qualname__, method.__module__ = f"{cls.__qualname__}.{name}", cls.__module__
    return method


class _Signature:
    """The signature of the class that is asked, as `inspect.signature` and `help` look for it."""

    def __get__(self, instance: object, cls: type[Any]) -> Signature:
        if instance is not None or next(one for one in cls.__mro__ if "__init__" in vars(one)) is not self._owner:
            raise AttributeError("__signature__")  # a subclass has an __init__ of its own
        kind = Parameter.KEYWORD_ONLY if cls.__dataclass_params__.kw_only else Parameter.POSITIONAL_OR_KEYWORD
        parameters = []
        for one in dataclasses.fields(cls):
            if one.init:
                default = _FACTORY if one.default_factory is not _NONE else one.default
                shown = Parameter.empty if default is _NONE else default
                parameters.append(Parameter(one.name, kind, default=shown, annotation=one.type))
        return Signature(parameters, return_annotation=None)

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self._owner = owner


def _replaced(self: Any, /, **changes: Any) -> Any:
    return dataclasses.replace(self, **changes)


def _slot(cls: type[Any], name: str) -> MemberDescriptorType:
    slot: MemberDescriptorType = getattr(cls, name)
    return slot


def _state(self: Any) -> list[Any]:
    return [getattr(self, one.name) for one in dataclasses.fields(self)]


def _restore(self: Any, state: list[Any]) -> None:
    fields = dataclasses.fields(self)
    # While versions change, another one wrote it: fields are only ever added, behind the others.
    missing = []
    for one in fields[len(state) :]:
        make: Any = one.default_factory
        missing.append(one.default if make is _NONE else make())
    for one, value in zip(fields, [*state, *missing], strict=False):
        if value is not _NONE:
            _slot(type(self), one.name).__set__(self, value)
