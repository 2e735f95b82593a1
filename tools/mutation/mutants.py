"""The mutants of a module: small mistakes, one at a time, in the syntax tree.

Each is a place in the tree and what stands there instead. What is left alone: docstrings and
annotations, imports, decorators, `assert`, and the words of a log line. A mutant that compiles
to the same code as the original, or as one before it, is none.
"""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from types import CodeType
from typing import Any, Final

from tools.mutation.mistakes import instead, mistakes

#: What is given the types of what is in it, in square brackets.
_CONTAINERS: Final = frozenset(
    {"dict", "list", "set", "frozenset", "tuple", "Counter", "Mapping", "Sequence", "Callable"}
)

#: A function's name and line; None outside of any.
_Function = tuple[str, int] | None


@dataclass(frozen=True)
class Mutant:
    """One mistake in one module.

    Attributes:
        module: below the package, as `clients/pgpass.py`.
        where: the function it lies in, as `Files.read`; empty for the module's own lines.
        change: what stood there and what stands there now, in one line.
        number: counts what would else have the same name, from 1.
        lines: first and last line whose tests may notice it.
        function: name and line of the outermost function around it, which can be given the
            changed code while the program is loaded; None: the module has to be imported anew.
        edit: for `Tree.code`; only in the process that made it.
    """

    module: str
    where: str
    change: str
    number: int
    lines: tuple[int, int]
    function: tuple[str, int] | None
    edit: _Edit = field(repr=False, compare=False)

    def imported(self) -> Mutant:
        """The same, to be tried by importing the module anew."""
        return replace(self, function=None)

    @property
    def name(self) -> str:
        """What the list of those that are kept calls it."""
        number = f" #{self.number}" if self.number > 1 else ""
        return f"{self.where or 'module'}: {self.change}{number}"


@dataclass(frozen=True)
class _Edit:
    """A place in the tree, and what stands there instead."""

    parent: ast.AST
    name: str
    index: int | None
    new: Any

    def swap(self) -> _Edit:
        """Do it; the edit that takes it back."""
        held = getattr(self.parent, self.name)
        if self.index is None:
            setattr(self.parent, self.name, self.new)
            return _Edit(self.parent, self.name, None, held)
        back = _Edit(self.parent, self.name, self.index, held[self.index])
        held[self.index] = self.new
        return back


class Tree:
    """A module's syntax tree, whole again after each mutant."""

    def __init__(self, source: str, path: str) -> None:
        self.module = ast.parse(source)
        self.path = path
        self.original = self._compile()

    def _compile(self) -> CodeType:
        return compile(self.module, self.path, "exec", dont_inherit=True)

    def code(self, mutant: Mutant) -> CodeType:
        """The module's code with this mistake in it."""
        back = mutant.edit.swap()
        try:
            return self._compile()
        finally:
            back.swap()


def shape(code: CodeType) -> tuple[object, ...]:
    """What code does, without where it stands."""
    constants = tuple(
        shape(one) if isinstance(one, CodeType) else (type(one).__name__, repr(one))
        for one in code.co_consts
    )
    return (
        code.co_code, constants, code.co_names, code.co_varnames, code.co_freevars,
        code.co_cellvars, code.co_flags, code.co_argcount, code.co_kwonlyargcount,
        code.co_exceptiontable,
    )  # fmt: skip


def mutants(tree: Tree, module: str) -> Iterator[Mutant]:
    """All mutants of a module, in the order of its lines."""
    seen = {shape(tree.original)}
    names: dict[tuple[str, str], int] = {}
    for place, edit, change in _Places().walk(tree.module):
        number = names[place.where, change] = names.get((place.where, change), 0) + 1
        found = Mutant(module, place.where, change, number, place.lines, place.function, edit)
        try:
            code = tree.code(found)
        except (SyntaxError, ValueError):
            continue
        if (done := shape(code)) not in seen:
            seen.add(done)
            fits = found.function is None or (
                function_of(code, *found.function).co_freevars
                == function_of(tree.original, *found.function).co_freevars
            )
            yield found if fits else found.imported()


def function_of(code: CodeType, name: str, line: int) -> CodeType:
    """The code of a function, within that of its module."""
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            if (inner.co_qualname, inner.co_firstlineno) == (name, line):
                return inner
            if name.startswith(f"{inner.co_qualname}."):
                with contextlib.suppress(LookupError):
                    return function_of(inner, name, line)
    raise LookupError(name)


@dataclass(frozen=True)
class _Place:
    where: str
    function: _Function
    lines: tuple[int, int]


_Found = Iterator[tuple[_Place, _Edit, str]]


class _Places:
    """Walks through a tree and finds each place with what may stand there."""

    def walk(self, module: ast.Module) -> _Found:
        """All of them, each with what it is in words."""
        yield from self._body(module, "body", "", None)

    def _body(self, parent: ast.AST, name: str, where: str, function: _Function) -> _Found:
        for index, statement in enumerate(getattr(parent, name)):
            yield from self._statement(statement, _Edit(parent, name, index, None), where, function)

    def _statement(self, node: ast.stmt, at: _Edit, where: str, function: _Function) -> _Found:
        if isinstance(node, ast.Import | ast.ImportFrom | ast.Assert) or _is_docstring(node):
            return
        if _is_for_linters(node):
            return
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from self._definition(node, where, function)
            return
        for new, change in instead(node):
            place = _Place(where, function, (_first_handler(node, new), _end(node)))
            fixed = ast.fix_missing_locations(ast.copy_location(new, node))
            yield place, _Edit(at.parent, at.name, at.index, fixed), change
        place = _Place(where, function, (node.lineno, _header_end(node)))
        for name in node._fields:
            if name in {"body", "orelse", "finalbody"}:
                yield from self._body(node, name, where, function)
            elif name in {"handlers", "cases"}:
                for one in getattr(node, name):
                    yield from self._branch(one, where, function)
            elif name != "annotation":
                yield from self._parts(node, name, place)

    def _definition(
        self,
        node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef,
        where: str,
        function: _Function,
    ) -> _Found:
        inner = f"{where}.{node.name}" if where else node.name
        if not isinstance(node, ast.ClassDef):
            place = _Place(inner, function, (node.lineno, _end(node)))
            for default in ("defaults", "kw_defaults"):
                yield from self._parts(node.args, default, place)
            first = min(one.lineno for one in (*node.decorator_list, node))
            function = function or (inner, first)
        yield from self._body(node, "body", inner, function)

    def _branch(
        self, node: ast.ExceptHandler | ast.match_case, where: str, function: _Function
    ) -> _Found:
        """A handler of exceptions, or a case."""
        head = node if isinstance(node, ast.ExceptHandler) else node.pattern
        place = _Place(where, function, (head.lineno, _end(node.body[-1])))
        yield from self._parts(node, "type" if head is node else "guard", place)
        yield from self._body(node, "body", where, function)

    def _parts(self, parent: ast.AST, name: str, place: _Place) -> _Found:
        """What may stand in one field of a node, and in whatever is below it."""
        held = getattr(parent, name)
        for index, node in enumerate(held) if isinstance(held, list) else ((None, held),):
            if not isinstance(node, ast.AST) or isinstance(node, ast.expr_context):
                continue
            if _is_log(node) or _is_type(node):
                continue
            for new, change in mistakes(node, parent, name):
                fixed = ast.fix_missing_locations(ast.copy_location(new, node))
                yield place, _Edit(parent, name, index, fixed), change
            for below in node._fields:
                if below not in {"annotation", "ctx"}:
                    yield from self._parts(node, below, place)


# --- small things ----------------------------------------------------------------------------


def _is_docstring(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and (isinstance(node.value.value, str) or node.value.value is ...)
    )


def _is_for_linters(node: ast.stmt) -> bool:
    """What only tells others which names there are."""
    if isinstance(node, ast.Assign):
        return ast.unparse(node.targets[0]) == "__all__"
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def _is_log(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and ast.unparse(node.func.value) in {"log", "_log"}
    )


def _is_type(node: ast.AST) -> bool:
    """What only says a type, such as `TypeVar("Item")` and `dict[str, int]`."""
    name = getattr(node, "func", None) or getattr(node, "value", None)
    if not isinstance(name, ast.Name):
        return False
    if isinstance(node, ast.Subscript):
        return name.id in _CONTAINERS
    return isinstance(node, ast.Call) and name.id in {"TypeVar", "cast", "NewType"}


def _end(node: ast.AST) -> int:
    return int(getattr(node, "end_lineno", 0))


def _header_end(node: ast.stmt) -> int:
    """The last line of a statement before the block that belongs to it."""
    body = getattr(node, "body", None)
    return max(node.lineno, body[0].lineno - 1) if isinstance(body, list) else _end(node)


def _first_handler(node: ast.stmt, new: Any) -> int:
    """Where what was taken from a `try` begins; else where the statement does."""
    left = new.handlers if isinstance(new, ast.Try) else []
    gone = [one for one in getattr(node, "handlers", []) if one not in left]
    return gone[0].lineno if gone else node.lineno
