"""Makes one file, `bootstrap.py`, of the parts in `bootstrap`, for a person who has Python and the disc alone.

The same parts give the same bytes, so that its SHA-256 can be told by another way. Not here: what it does.
"""

import ast
import hashlib
from pathlib import Path
from typing import Final

NAME: Final = "bootstrap.py"
_PARTS: Final = ("ed25519", "medium", "trust", "volumes", "contents", "installing", "main")
_OURS: Final = "isthmus."
_CHECK: Final = """
if sys.version_info < (3, 11):  # Python 3.6 and newer read as far as this, so that it can be said
    sys.exit("Isthmus needs Python 3.11 or newer; this is %d.%d" % tuple(sys.version_info[:2]))
"""


def bootstrap_script() -> bytes:
    """The script's bytes."""
    imports: set[str] = set()
    bodies = [_body(name, imports) for name in _PARTS]
    head = f'#!/usr/bin/env python3\n"""{_docstring(_PARTS[-1])}"""\n'
    return "\n".join([head, *sorted(imports), _CHECK, "\n\n".join(bodies)]).encode()


def bootstrap_digest() -> str:
    """The SHA-256 of the script, to be told to the site by another way."""
    return hashlib.sha256(bootstrap_script()).hexdigest()


def _source(part: str) -> str:
    return (Path(__file__).parent / "bootstrap" / f"{part}.py").read_text(encoding="utf-8")


def _docstring(part: str) -> str:
    return ast.get_docstring(ast.parse(_source(part)), clean=False) or ""


def _body(part: str, imports: set[str]) -> str:
    """A part without its docstring and imports; those of the standard library are collected."""
    source = _source(part)
    tree = ast.parse(source)
    dropped: set[int] = set()
    for number, node in enumerate(tree.body):
        is_docstring = number == 0 and isinstance(node, ast.Expr)
        if is_docstring or isinstance(node, ast.Import | ast.ImportFrom):
            dropped.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
        if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and not _is_ours(node)):
            imports.add(ast.unparse(node))
    lines = [line for number, line in enumerate(source.splitlines(), 1) if number not in dropped]
    return f"# {part}\n\n" + "\n".join(lines).strip() + "\n"


def _is_ours(node: ast.ImportFrom) -> bool:
    return (node.module or "").startswith(_OURS)
