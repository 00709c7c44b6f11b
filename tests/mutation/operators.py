"""Generic mutations of a source file, from its syntax tree: one change each, always valid Python.

What changes no number is left alone: annotations, decorators, defaults of parameters, docstrings, assertions and the
`strict` of zip, what is raised, and the text of f-strings.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import singledispatch
from itertools import accumulate

COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
NAMED = {"min": "max", "any": "all", "minimum": "maximum", "argmin": "argmax", "ones": "zeros", "sorted": "list"}
NAMED |= {new: old for old, new in NAMED.items() if old != "sorted"} | {"ones_like": "zeros_like"}
DROPPED = {"abs", "clamp", "clip", "contiguous", "float", "long", "lower", "lstrip", "masked_fill", "strip", "to"}
"""Calls without which the value they are called on is still one."""
LOOSE = (ast.BinOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.UnaryOp)
"""What falls apart beside a stronger operator, without parentheses."""
SKIPPED = {"annotation", "returns", "decorator_list", "args"}
"""Parts of definitions that compute nothing in a call; `args` are a function's parameters with their defaults."""


@dataclass(frozen=True, slots=True)
class Mutation:
    """One change of a source file.

    Attributes:
        line: Where it begins, counted from 1.
        becomes: The changed line, or lines as one: names the mutation wherever in the file it stands.
        source: The changed file.
    """

    line: int
    becomes: str
    source: bytes


def mutations(source: bytes) -> list[Mutation]:
    """All of a file, from first to last, each once."""
    starts = [0, *accumulate(map(len, source.splitlines(keepends=True)))]
    found: dict[bytes, Mutation] = {}
    tree = ast.parse(source)
    tests = {id(node.test) for node in ast.walk(tree) if isinstance(node, ast.If | ast.While)}
    for node in _values(tree):
        first, last = starts[node.lineno - 1], starts[node.end_lineno]
        begin = first + node.col_offset
        end = starts[node.end_lineno - 1] + node.end_col_offset
        for changed in [*_changes(node), *([ast.Constant(True), ast.Constant(False)] if id(node) in tests else [])]:
            new = ast.unparse(ast.fix_missing_locations(changed))
            new = f"({new})" if isinstance(changed, LOOSE) else new
            becomes = source[first:begin] + new.encode() + source[end:last]
            mutated = source[:first] + becomes + source[last:]
            found.setdefault(mutated, Mutation(node.lineno, " ".join(becomes.decode().split()), mutated))
    return sorted(found.values(), key=lambda mutation: mutation.line)


def _values(node: ast.AST) -> Iterator[ast.expr | ast.stmt]:
    """Expressions and statements that compute something, outer ones first."""
    if isinstance(node, ast.Assert | ast.Raise | ast.JoinedStr | ast.Import | ast.ImportFrom) or _is_text(node):
        return
    if isinstance(node, ast.AnnAssign) and "TypeAlias" in ast.unparse(node.annotation):
        return
    if isinstance(node, ast.keyword) and node.arg == "strict":
        return
    if isinstance(node, ast.expr | ast.Expr | ast.AugAssign):
        yield node
    if isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Constant):
        return
    for name, value in ast.iter_fields(node):
        if name not in SKIPPED or isinstance(node, ast.Call):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from _values(child)


def _is_text(node: ast.AST) -> bool:
    """A docstring, of a module, class, function or value."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


@singledispatch
def _changes(node: ast.AST) -> Iterator[ast.AST]:
    """What could stand in the node's place by a mistake."""
    yield from ()


@_changes.register
def _(node: ast.Compare) -> Iterator[ast.AST]:
    for place, operator in enumerate(node.ops):
        yield _with(node, ops=[*node.ops[:place], COMPARED[type(operator)](), *node.ops[place + 1 :]])


@_changes.register
def _(node: ast.BoolOp) -> Iterator[ast.AST]:
    yield _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())


@_changes.register(ast.BinOp)
@_changes.register(ast.AugAssign)
def _(node: ast.BinOp | ast.AugAssign) -> Iterator[ast.AST]:
    if type(node.op) in COMPUTED:
        yield _with(node, op=COMPUTED[type(node.op)]())


@_changes.register
def _(node: ast.UnaryOp) -> Iterator[ast.AST]:
    match node.operand:
        case ast.Constant(value=int(value)):
            yield _with(node, operand=ast.Constant(value + 1))
        case operand:
            yield operand


@_changes.register
def _(node: ast.Constant) -> Iterator[ast.AST]:
    match node.value:
        case bool(value):
            yield ast.Constant(not value)
        case int(value):
            yield ast.Constant(value + 1)
            if value == 1:
                yield ast.Constant(0)
        case float(value):
            yield ast.Constant(2 * value or 1.0)


@_changes.register
def _(node: ast.IfExp) -> Iterator[ast.AST]:
    yield node.body
    yield node.orelse


@_changes.register
def _(node: ast.Call) -> Iterator[ast.AST]:
    if isinstance(node.func, ast.Attribute) and node.func.attr in DROPPED:
        yield node.func.value
    for place, keyword in enumerate(node.keywords):
        if keyword.arg not in {None, "strict"}:
            yield _with(node, keywords=[*node.keywords[:place], *node.keywords[place + 1 :]])


@_changes.register
def _(node: ast.Name) -> Iterator[ast.AST]:
    if node.id in NAMED and isinstance(node.ctx, ast.Load):
        yield _with(node, id=NAMED[node.id])


@_changes.register
def _(node: ast.Attribute) -> Iterator[ast.AST]:
    if node.attr in NAMED and isinstance(node.ctx, ast.Load):
        yield _with(node, attr=NAMED[node.attr])


@_changes.register
def _(node: ast.Slice) -> Iterator[ast.AST]:
    if node.lower:
        yield _with(node, lower=None)
    if node.upper:
        yield _with(node, upper=None)


@_changes.register(ast.ListComp)
@_changes.register(ast.SetComp)
@_changes.register(ast.DictComp)
@_changes.register(ast.GeneratorExp)
def _(node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> Iterator[ast.AST]:
    for place, loop in enumerate(node.generators):
        if loop.ifs:
            loops = [*node.generators[:place], _with(loop, ifs=[]), *node.generators[place + 1 :]]
            yield _with(node, generators=loops)


@_changes.register
def _(node: ast.Expr) -> Iterator[ast.AST]:
    if isinstance(node.value, ast.Call):
        yield ast.Pass()


def _with(node: ast.AST, **fields: object) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed
