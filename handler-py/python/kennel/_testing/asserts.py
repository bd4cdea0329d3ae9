"""Asserts that say what both sides were, for tests that run without pytest."""

from __future__ import annotations

import ast
from typing import Any, List

_WORDS = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Is: "is",
    ast.IsNot: "is not",
    ast.In: "in",
    ast.NotIn: "not in",
}

#: How much of a value is shown.
_LONGEST = 1000


def rewrite(source: bytes, path: str) -> Any:
    """Parses a file; `assert a == b` in it calls `_compared` when it fails."""
    tree = ast.parse(source, path)
    return ast.fix_missing_locations(_Rewriter().visit(tree))


class _Rewriter(ast.NodeTransformer):
    def __init__(self) -> None:
        self._count = 0

    def visit_Assert(self, node: ast.Assert) -> Any:
        test = node.test
        if node.msg is not None or not isinstance(test, ast.Compare) or len(test.ops) != 1:
            return node
        word = _WORDS[type(test.ops[0])]
        self._count += 1
        left, right = f"@left{self._count}", f"@right{self._count}"

        def keep(name: str, value: ast.expr) -> ast.stmt:
            return ast.Assign(targets=[ast.Name(id=name, ctx=ast.Store())], value=value)

        def name(id: str) -> ast.expr:
            return ast.Name(id=id, ctx=ast.Load())

        compare = ast.Compare(left=name(left), ops=test.ops, comparators=[name(right)])
        shown = ast.Call(
            func=ast.Attribute(
                value=ast.Call(
                    func=name("__import__"),
                    args=[
                        ast.Constant("kennel._testing.asserts"),
                        ast.Constant(None),
                        ast.Constant(None),
                        ast.List([ast.Constant("compared")], ast.Load()),
                    ],
                    keywords=[],
                ),
                attr="compared",
                ctx=ast.Load(),
            ),
            args=[name(left), ast.Constant(word), name(right)],
            keywords=[],
        )
        rewritten: List[ast.stmt] = [
            keep(left, test.left),
            keep(right, test.comparators[0]),
            ast.Assert(test=compare, msg=shown),
        ]
        for made in rewritten:
            ast.copy_location(made, node)
        return rewritten


def compared(left: Any, word: str, right: Any) -> str:
    """What was compared, in words."""
    if word == "==":
        lines = _differences(left, right, "")
        if lines:
            return "\n".join(lines[:10])
        return f"  expected: {_shown(right)}\n  got:      {_shown(left)}"
    return f"  left:  {_shown(left)}\n  right: {_shown(right)}"


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except Exception as problem:
        text = f"<{type(value).__name__} whose repr fails: {problem!r}>"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({len(text)} characters)"


def _differences(got: Any, expected: Any, path: str) -> List[str]:
    """Where two dicts or lists differ, one line each; nothing for other values."""
    lines: List[str] = []
    if isinstance(got, dict) and isinstance(expected, dict):
        for key in list(expected) + [key for key in got if key not in expected]:
            step = f"{path}[{key!r}]"
            if key not in got:
                lines.append(f"  at {step}: expected {_shown(expected[key])}, there is none")
            elif key not in expected:
                lines.append(f"  at {step}: {_shown(got[key])} is not expected")
            elif got[key] != expected[key]:
                lines += _differences(got[key], expected[key], step) or [_one(step, got[key], expected[key])]
    elif isinstance(got, list) and isinstance(expected, list):
        for at, (one, other) in enumerate(zip(got, expected)):
            if one != other:
                lines += _differences(one, other, f"{path}[{at}]") or [_one(f"{path}[{at}]", one, other)]
        if len(got) != len(expected):
            lines.append(
                f"  {'at ' + path + ': ' if path else ''}expected {len(expected)} items, got {len(got)}: {_shown(got)}"
            )
    return lines


def _one(path: str, got: Any, expected: Any) -> str:
    return f"  at {path}: expected {_shown(expected)}, got {_shown(got)}"
