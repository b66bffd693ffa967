"""Configuration templates.

`@name@` is replaced. `@if name@` and `@each name@`, on a line of their own, open a block that `@end@` closes.
"""

import re
from collections.abc import Iterator


def render(text: str, scope: dict) -> str:
    return "".join(f"{line}\n" for line in expand(text.splitlines(), scope))


def expand(lines: list[str], scope: dict) -> Iterator[str]:
    at = 0
    while at < len(lines):
        opening = BLOCK.fullmatch(lines[at])
        if not opening:
            yield VALUE.sub(lambda name: str(scope[name[1]]), lines[at])
            at += 1
            continue
        kind, name = opening.groups()
        end = end_of_block(lines, at)
        # `if` is a loop over one or no empty scope.
        items = scope[name] if kind == "each" else [{}] if scope[name] else []
        for item in items:
            yield from expand(lines[at + 1 : end], scope | item)
        at = end + 1


def end_of_block(lines: list[str], opening: int) -> int:
    depth = 0
    for at in range(opening, len(lines)):
        if BLOCK.fullmatch(lines[at]):
            depth += 1
        elif lines[at] == "@end@":
            depth -= 1
            if depth == 0:
                return at
    raise ValueError(f"a block without an end: {lines[opening]}")


BLOCK = re.compile(r"@(if|each) (\w+)@")
VALUE = re.compile(r"@(\w+)@")
