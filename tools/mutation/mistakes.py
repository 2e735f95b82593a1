"""The mistakes themselves: what may stand in the place of a statement, or of an expression."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from typing import Any, Final

#: Something else in a node's place, and what that is in words.
Mistakes = Iterator[tuple[Any, str]]

COMPARISONS: Final[dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]]] = {
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}

ARITHMETIC: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}

#: Names that are mistaken for each other; the last ones only in this direction.
_PAIRS: Final = (
    ("min", "max"), ("any", "all"), ("lstrip", "rstrip"), ("startswith", "endswith"),
    ("partition", "rpartition"), ("removeprefix", "removesuffix"), ("find", "rfind"),
    ("index", "rindex"), ("lower", "upper"),
)  # fmt: skip
SWAPPED: Final = {
    **dict(_PAIRS),
    **{second: first for first, second in _PAIRS},
    "append": "extend",
    "fullmatch": "match",
    "match": "search",
    "search": "match",
    "split": "rsplit",
}

#: Calls that give back what they are given, in another order.
ORDERING: Final = frozenset({"sorted", "reversed"})

#: Letters that a name of a mutant has; the middle of a longer one is left out.
_WIDTH: Final = 90


# --- statements ------------------------------------------------------------------------------


def instead(node: ast.stmt) -> Mistakes:
    """What may stand in the place of a whole statement."""
    if type(node) in _STATEMENTS:
        yield from _STATEMENTS[type(node)](node)


def _gone(node: ast.stmt) -> Mistakes:
    yield ast.Pass(), f"{text(node)} -> (nothing)"


def _expression(node: ast.Expr) -> Mistakes:
    if not isinstance(node.value, ast.Yield):
        yield from _gone(node)


def _assignment(node: ast.Assign | ast.AnnAssign) -> Mistakes:
    """Of what is kept in an object. A name that is missing would be an error at once."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    if node.value is not None and isinstance(targets[0], ast.Attribute | ast.Subscript):
        yield from _gone(node)


def _continue(node: ast.Continue) -> Mistakes:
    yield ast.Break(), "continue -> break"
    yield from _gone(node)


def _break(_: ast.Break) -> Mistakes:
    yield ast.Continue(), "break -> continue"


def _return(node: ast.Return) -> Mistakes:
    if node.value is None:
        yield from _gone(node)
    elif not (isinstance(node.value, ast.Constant) and node.value.value is None):
        yield ast.Return(ast.Constant(None)), f"{text(node)} -> None"


def _with(node: ast.With | ast.AsyncWith) -> Mistakes:
    if all(item.optional_vars is None for item in node.items):
        yield _only(node.body), f"{text(node)} -> (without)"


def _for(node: ast.For) -> Mistakes:
    changed = copy.copy(node)
    changed.iter = ast.Tuple(elts=[], ctx=ast.Load())
    yield changed, f"{text(node)} -> (never)"


def _try(node: ast.Try) -> Mistakes:
    for index, handler in enumerate(node.handlers):
        changed = copy.copy(node)
        changed.handlers = [*node.handlers[:index], *node.handlers[index + 1 :]]
        what = f"except {ast.unparse(handler.type)}" if handler.type else "except"
        if not changed.handlers:
            changed.body, changed.orelse = [*node.body, *node.orelse], []
        kept = changed if changed.handlers or changed.finalbody else _only(changed.body)
        yield kept, f"{what} -> (not caught)"
    if node.finalbody:
        changed = copy.copy(node)
        changed.finalbody = []
        yield changed if node.handlers else _only(node.body), "finally -> (nothing)"


def _only(body: list[ast.stmt]) -> ast.If:
    """These statements, in the place of one."""
    return ast.If(test=ast.Constant(value=True), body=body, orelse=[])


_STATEMENTS: Final[dict[type[ast.stmt], Callable[[Any], Mistakes]]] = {
    ast.Expr: _expression,
    ast.AugAssign: _gone,
    ast.Raise: _gone,
    ast.Delete: _gone,
    ast.Assign: _assignment,
    ast.AnnAssign: _assignment,
    ast.Continue: _continue,
    ast.Break: _break,
    ast.Return: _return,
    ast.With: _with,
    ast.AsyncWith: _with,
    ast.For: _for,
    ast.Try: _try,
}


# --- expressions -----------------------------------------------------------------------------


def mistakes(node: ast.AST, parent: ast.AST, name: str) -> Mistakes:
    """What may stand in the place of an expression, the field `name` of its parent."""
    if type(node) in _EXPRESSIONS:
        for new in _EXPRESSIONS[type(node)](node, parent):
            yield new, f"{text(node)} -> {text(new)}"
    is_condition = name == "test" or (name == "ifs" and isinstance(parent, ast.comprehension))
    if is_condition or name == "guard":
        for value in (False,) if isinstance(parent, ast.While) else (False, True):
            yield ast.Constant(value), f"if {text(node)} -> {value}"


def _constant(node: ast.Constant, parent: ast.AST) -> Iterator[ast.AST]:
    value = node.value
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int | float):
        yield ast.Constant(value + 1)
        if not isinstance(parent, ast.UnaryOp):
            yield ast.Constant(value - 1)
    elif isinstance(value, str):
        if value != "utf-8":  # Python takes `?utf-8` for it
            yield ast.Constant(f"?{value}" if value else "?")
        if value and " " not in value and not isinstance(parent, ast.JoinedStr):
            yield ast.Constant("")
    elif isinstance(value, bytes):
        yield ast.Constant(b"?" + value)


def _compare(node: ast.Compare, _: ast.AST) -> Iterator[ast.AST]:
    for index, operator in enumerate(node.ops):
        for other in COMPARISONS[type(operator)]:
            ops = [*node.ops[:index], other(), *node.ops[index + 1 :]]
            yield ast.Compare(node.left, ops, node.comparators)


def _bool(node: ast.BoolOp, _: ast.AST) -> Iterator[ast.AST]:
    yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
    for index in range(len(node.values)):
        rest = [*node.values[:index], *node.values[index + 1 :]]
        yield rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)


def _unary(node: ast.UnaryOp, _: ast.AST) -> Iterator[ast.AST]:
    if not isinstance(node.op, ast.UAdd):
        yield node.operand


def _binary(node: ast.BinOp, _: ast.AST) -> Iterator[ast.AST]:
    if type(node.op) in ARITHMETIC:
        yield ast.BinOp(node.left, ARITHMETIC[type(node.op)](), node.right)


def _call(node: ast.Call, _: ast.AST) -> Iterator[ast.AST]:
    """Another name, an argument less, or what was to be put in order as it was."""
    if isinstance(node.func, ast.Name):
        if node.func.id in SWAPPED:
            yield ast.Call(ast.Name(SWAPPED[node.func.id], ast.Load()), node.args, node.keywords)
        if node.func.id in ORDERING:
            yield ast.Call(ast.Name("list", ast.Load()), node.args[:1], [])
    elif isinstance(node.func, ast.Attribute) and node.func.attr in SWAPPED:
        other = ast.Attribute(node.func.value, SWAPPED[node.func.attr], ast.Load())
        yield ast.Call(other, node.args, node.keywords)
    for index, keyword in enumerate(node.keywords):
        if ast.unparse(keyword) != "strict=False":  # what `zip` does without it
            rest = [*node.keywords[:index], *node.keywords[index + 1 :]]
            yield ast.Call(node.func, node.args, rest)
    if len(node.args) > 1:
        yield ast.Call(node.func, node.args[:-1], node.keywords)


def _slice(node: ast.Slice, _: ast.AST) -> Iterator[ast.AST]:
    for end in ("lower", "upper", "step"):
        if getattr(node, end) is not None:
            changed = copy.copy(node)
            setattr(changed, end, None)
            yield changed


def _several(node: ast.Tuple | ast.List | ast.Set, _: ast.AST) -> Iterator[ast.AST]:
    """One of several less; what is assigned to stays as it is."""
    if isinstance(getattr(node, "ctx", None), ast.Store) or len(node.elts) < 2:  # noqa: PLR2004 – several
        return
    for index in range(len(node.elts)):
        changed = copy.copy(node)
        changed.elts = [*node.elts[:index], *node.elts[index + 1 :]]
        yield changed


_EXPRESSIONS: Final[dict[type[ast.AST], Callable[[Any, ast.AST], Iterator[ast.AST]]]] = {
    ast.Constant: _constant,
    ast.Compare: _compare,
    ast.BoolOp: _bool,
    ast.UnaryOp: _unary,
    ast.BinOp: _binary,
    ast.Call: _call,
    ast.Slice: _slice,
    ast.Tuple: _several,
    ast.List: _several,
    ast.Set: _several,
}


# --- in words --------------------------------------------------------------------------------


def text(node: ast.AST) -> str:
    """A node's source, in one line that is not too long; of a block, its head."""
    if isinstance(node, ast.With | ast.AsyncWith | ast.For):
        node = copy.copy(node)
        node.body = [ast.Pass()]
        if isinstance(node, ast.For):
            node.orelse = []
    if isinstance(node, ast.Slice):
        node = ast.Subscript(ast.Name("_"), node)
    words = " ".join(ast.unparse(node).split()).removesuffix(": pass")
    return words if len(words) <= _WIDTH else f"{words[:60]} … {words[-27:]}"
