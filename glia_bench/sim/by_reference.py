"""NamedTuples of arrays that kernels receive as one pointer, and read like the NamedTuple itself.

Passed by value, a tuple of sixty arrays is four hundred numbers at every call of a function, and compiling takes
minutes. By reference it is one pointer to a table that holds, for each array, its address and its shape; a
nested NamedTuple is a part of the table. Loads from the table are marked as invariant, so LLVM keeps them in registers.
The arrays must be C-contiguous and outlive the call, which `Reference` sees to. Without JIT the NamedTuple itself is
passed. `References` puts the tables of several NamedTuples of one class one after the other, for kernels that take
them one by one.
"""

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, config, types
from numba.core.datamodel import models, register_default
from numba.core.imputils import lower_getattr_generic
from numba.core.pythonapi import NativeValue
from numba.core.typing.templates import AttributeTemplate, infer_getattr
from numba.extending import intrinsic, typeof_impl, unbox
from numba.np.arrayobj import make_array, populate_array

Fields = tuple[tuple[str, Any, int], ...]


class ReferenceType(types.Type):  # type: ignore[misc]
    """The Numba type of a reference: names, types and places of the arrays (or nested references) in the table.

    `width` is the length of the table of one NamedTuple, of the outermost type.
    """

    def __init__(self, name: str, fields: Fields, width: int) -> None:
        self.fields = {field: (kind, place) for field, kind, place in fields}
        self.width = width
        shown = ", ".join(f"{field}: {kind} @ {place}" for field, kind, place in fields)
        super().__init__(name=f"Reference({name}: {shown})")


class Reference:
    """A NamedTuple of arrays with the table that stands for it; keeps both alive."""

    __slots__ = ("kind", "owner", "table")

    def __init__(self, owner: Any) -> None:
        self.owner = owner
        self.kind = _kinds[type(owner)]
        entries: list[int] = []
        _add_entries(owner, entries)
        self.table = np.array(entries, dtype=np.int64)


def reference_to(arrays: Any) -> Any:
    """Return what a kernel is given for a NamedTuple of arrays: a reference, or the NamedTuple itself without JIT."""
    return arrays if config.DISABLE_JIT else Reference(arrays)


class References:
    """References to several NamedTuples of one class, for kernels that take them one by one with `nth`.

    Attributes:
        owners: The NamedTuples; None before `put`.
    """

    def __init__(self, owner_class: type, count: int) -> None:
        self.owners: list[Any] = [None] * count
        self.kind = None if config.DISABLE_JIT else _kinds[owner_class]
        self.rows = np.zeros((count, 0 if self.kind is None else self.kind.width), dtype=np.int64)

    def put(self, k: int, owner: Any) -> None:
        """Let the k-th reference be to this one."""
        self.owners[k] = owner
        if self.kind is not None:
            self.rows[k] = Reference(owner).table

    def all(self) -> Any:
        """Return what a kernel is given for all of them; it follows every `put`."""
        if self.kind is None:
            return self.owners
        return self._reference(self.owners, self.rows)

    def one(self, k: int) -> Any:
        """Return what a kernel is given for the k-th alone."""
        if self.kind is None:
            return self.owners[k : k + 1]
        return self._reference(self.owners[k], self.rows[k])

    def _reference(self, owner: Any, rows: Any) -> Reference:
        reference = object.__new__(Reference)
        reference.kind, reference.owner, reference.table = self.kind, owner, rows.reshape(-1)
        return reference


def only(reference: Any) -> Any:
    """Return what stands for several NamedTuples if there is but the one of a reference."""
    return [reference] if config.DISABLE_JIT else reference


def reference_type(example: Any) -> Any:
    """Return the Numba type of references to NamedTuples of an example's class."""
    if type(example) not in _kinds:
        _kinds[type(example)] = _type_of(example, 0)[0]
    return _kinds[type(example)]


_kinds: dict[type, Any] = {}


@typeof_impl.register(Reference)  # type: ignore[untyped-decorator]
def _kind_of(reference: Reference, context: Any) -> Any:
    return reference.kind


def _add_entries(arrays: Any, entries: list[int]) -> None:
    for value in arrays:
        if isinstance(value, tuple):
            _add_entries(value, entries)
        else:
            assert value.flags.c_contiguous, "arrays behind a reference must be contiguous"
            entries.extend([value.ctypes.data, *value.shape])


def _type_of(arrays: Any, place: int) -> tuple[Any, int]:
    """Return the type of a NamedTuple whose table begins at a place, and the place behind it."""
    fields = []
    first = place
    for name, value in zip(arrays._fields, arrays, strict=True):
        if isinstance(value, tuple):
            kind, behind = _type_of(value, place)
        else:
            kind = numba.typeof(value).copy(layout="C", readonly=False)
            behind = place + 1 + value.ndim
        fields.append((name, kind, place))
        place = behind
    return ReferenceType(type(arrays).__name__, tuple(fields), place - first), place


@register_default(ReferenceType)
class _ReferenceModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, ir.IntType(64).as_pointer())


@infer_getattr
class _Fields(AttributeTemplate):  # type: ignore[misc]
    key = ReferenceType

    def generic_resolve(self, reference: Any, name: str) -> Any:
        return reference.fields[name][0] if name in reference.fields else None


@lower_getattr_generic(ReferenceType)  # type: ignore[untyped-decorator]
def _lower_field(context: Any, builder: Any, reference: Any, table: Any, name: str) -> Any:
    """Load an array of the table, or pass a nested reference on."""
    kind, place = reference.fields[name]
    if isinstance(kind, ReferenceType):
        return table
    index = ir.IntType(64)

    def load(offset: int) -> Any:
        value = builder.load(builder.gep(table, [ir.Constant(index, place + offset)]))
        value.set_metadata("invariant.load", builder.module.add_metadata([]))
        return value

    shape = [load(1 + axis) for axis in range(kind.ndim)]
    size = context.get_abi_sizeof(context.get_data_type(kind.dtype))
    strides = [ir.Constant(index, size)]
    for length in reversed(shape[1:]):
        strides.insert(0, builder.mul(strides[0], length))
    array = make_array(kind)(context, builder)
    populate_array(
        array,
        data=builder.inttoptr(load(0), array.data.type),
        shape=cgutils.pack_array(builder, shape, ty=index),
        strides=cgutils.pack_array(builder, strides, ty=index),
        itemsize=ir.Constant(index, size),
        meminfo=None,
    )
    return array._getvalue()


@unbox(ReferenceType)  # type: ignore[untyped-decorator]
def _unbox(kind: Any, reference: Any, c: Any) -> Any:
    table = c.pyapi.object_getattr_string(reference, "table")
    native = c.unbox(types.Array(types.int64, 1, "C"), table)
    array = make_array(types.Array(types.int64, 1, "C"))(c.context, c.builder, value=native.value)
    c.pyapi.decref(table)
    return NativeValue(array.data, is_error=native.is_error)


if config.DISABLE_JIT:

    def nth(references: Any, k: int) -> Any:
        """Return the k-th of several references, in a kernel."""
        return references[k]

else:

    @intrinsic  # type: ignore[untyped-decorator]
    def nth(typing: Any, references: Any, k: Any) -> Any:
        """Return the k-th of several references, in a kernel."""

        def step(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            table, index = arguments
            return builder.gep(table, [builder.mul(index, ir.Constant(ir.IntType(64), references.width))])

        return references(references, types.int64), step
