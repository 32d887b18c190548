"""The one selector language: labels, hardware facts, node ranges, set algebra.

    expression := term (("and" | "or") term)*          `and` binds tighter than `or`
    term       := "not" term | "(" expression ")" | "*" | range | comparison
    comparison := key ("=" | "!=" | ">=" | "<=" | ">" | "<") value
                | key ["not"] "in" "(" item ("," item)* ")"
    item       := value | range
    range      := r640-[01-48]
    value      := bare word | 'quoted text' | "quoted text"

A key is a label, one of the node's own words (`name`, `driver`, `lifecycle`, `pool`), or a property
(`model`, `vendor`, `cpuArch`, `cpus`, `memoryGib`, `gpus`, `bootMode`). A label hides a property of
the same name, never one of the node's own words. A comparison with a key that the node lacks is
false (so `not` of it is true), `!=` is the negation of `=`, and `<`, `>` compare numbers only.
Nothing here reads anything but its arguments.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from metalwright.model.noderange import RANGE_NODES_MAX, NodeRangeError, unfold

SELECTOR_LENGTH_MAX = 4_096
SELECTOR_DEPTH_MAX = 32

Attributes = Mapping[str, str | int]
Predicate = Callable[[str, Attributes], bool]

_TOKEN = re.compile(
    r"\s*(?:(?P<op>!=|>=|<=|[=><(),])|(?P<star>\*)"
    r"|(?P<quoted>'[^']*'|\"[^\"]*\")|(?P<word>[A-Za-z0-9_./:\-\[\]+@]+(?:,[0-9\-/,]*\])*))"
)
_BRACKETED = re.compile(r"[A-Za-z0-9._-]*(?:\[[0-9,/-]*\][A-Za-z0-9._-]*)+")
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,18}")
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")
_COMPARISONS = ("=", "!=", ">=", "<=", ">", "<")
_WORDS = ("and", "or", "not", "in")


class SelectorError(ValueError):
    """The text is not a selector; the message says where and what would be right."""


@dataclass(frozen=True, slots=True)
class Selector:
    """A parsed selector: `matches` answers for one node."""

    text: str
    predicate: Predicate

    def matches(self, name: str, attributes: Attributes) -> bool:
        """Whether the node of this name, with these labels and facts, is selected."""
        return self.predicate(name, attributes)


@lru_cache(maxsize=1_024)
def parse_selector(text: str) -> Selector:
    """The selector that `text` spells.

    Raises:
        SelectorError: it spells none, is longer than 4,096 characters or deeper than 32 levels.
    """
    if len(text) > SELECTOR_LENGTH_MAX:
        raise SelectorError(f"a selector may have {SELECTOR_LENGTH_MAX} characters")
    parser = _Parser(text, _tokens(text))
    predicate = parser.expression(0)
    parser.expect_end()
    return Selector(text, predicate)


def _tokens(text: str) -> list[tuple[str, str, int]]:
    """(kind, text, column from 1) of every token, with an `end` token last."""
    tokens, at = [], 0
    while text[at:].strip():
        start = at + len(text[at:]) - len(text[at:].lstrip())
        bracketed = _BRACKETED.match(text, start)
        match = None if bracketed else _TOKEN.match(text, at)
        if bracketed:
            tokens.append(("word", bracketed[0], start + 1))
            at = bracketed.end()
        elif match is None:
            raise SelectorError(f"{text!r}, column {start + 1}: unexpected {text[start]!r}")
        else:
            kind = match.lastgroup or ""
            value = match[kind]
            if kind == "word" and value in _WORDS:
                kind = "op"
            tokens.append((kind, value, start + 1))
            at = match.end()
    tokens.append(("end", "", len(text) + 1))
    return tokens


class _Parser:
    """Recursive descent over the tokens; each method returns the predicate of what it read."""

    def __init__(self, text: str, tokens: list[tuple[str, str, int]]) -> None:
        self.text, self.tokens, self.at, self.unfolded_count = text, tokens, 0, 0

    def expression(self, depth: int) -> Predicate:
        parts = [self.conjunction(depth)]
        while self.take("or"):
            parts.append(self.conjunction(depth))
        return _either(parts)

    def conjunction(self, depth: int) -> Predicate:
        parts = [self.term(depth)]
        while self.take("and"):
            parts.append(self.term(depth))
        return _both(parts)

    def term(self, depth: int) -> Predicate:
        if depth > SELECTOR_DEPTH_MAX:
            raise SelectorError(f"a selector may be {SELECTOR_DEPTH_MAX} levels deep")
        if self.take("not"):
            return _negation(self.term(depth + 1))
        if self.take("("):
            inner = self.expression(depth + 1)
            self.expect(")")
            return inner
        kind, word, _column = self.tokens[self.at]
        if kind == "star":
            self.at += 1
            return lambda _name, _attributes: True
        if kind != "word":
            raise self.error("a key, a node range, 'not', '(' or '*'")
        self.at += 1
        return self.comparison(word)

    def comparison(self, word: str) -> Predicate:
        kind, operator, _column = self.tokens[self.at]
        if kind != "op" or operator not in (*_COMPARISONS, "in", "not"):
            return self.members(word)
        if not _KEY.fullmatch(word):
            raise self.error(f"'and', 'or' or the end after the node range {word!r}")
        if operator in _COMPARISONS:
            self.at += 1
            return _compare(self, word, operator, self.value())
        negated = self.take("not")
        self.expect("in")
        self.expect("(")
        values = self.listed()
        while self.take(","):
            values |= self.listed()
        self.expect(")")
        inside = _one_of(word, values)
        return _negation(inside) if negated else inside

    def members(self, word: str) -> Predicate:
        names = self.unfolded(word)
        return lambda name, _attributes: name in names

    def listed(self) -> frozenset[str]:
        """One item of a list: a value, or a bare range such as `a[01-12]`."""
        kind, word, _column = self.tokens[self.at]
        if kind == "word" and "[" in word:
            self.at += 1
            return self.unfolded(word)
        return frozenset((self.value(),))

    def unfolded(self, word: str) -> frozenset[str]:
        try:
            names = frozenset(unfold(word))
        except NodeRangeError as error:
            raise SelectorError(str(error)) from error
        self.unfolded_count += len(names)
        if self.unfolded_count > RANGE_NODES_MAX:
            raise SelectorError(f"a selector may name {RANGE_NODES_MAX} nodes in all")
        return names

    def value(self) -> str:
        kind, value, _column = self.tokens[self.at]
        if kind not in ("word", "quoted") or (kind == "word" and "[" in value):
            raise self.error("a value")
        self.at += 1
        return value[1:-1] if kind == "quoted" else value

    def take(self, operator: str) -> bool:
        kind, value, _column = self.tokens[self.at]
        found = kind == "op" and value == operator
        self.at += found
        return found

    def expect(self, operator: str) -> None:
        if not self.take(operator):
            raise self.error(repr(operator))

    def expect_end(self) -> None:
        if self.tokens[self.at][0] != "end":
            raise self.error("'and', 'or' or the end")

    def error(self, wanted: str) -> SelectorError:
        _kind, value, column = self.tokens[self.at]
        found = repr(value) if value else "the end"
        return SelectorError(
            f"{self.text!r}, column {column}: {wanted} should be here, not {found}"
        )


def _either(parts: list[Predicate]) -> Predicate:
    # One flat list: a predicate per pair would nest as deep as the selector is long, and a thousand
    # terms would exhaust the stack of whoever evaluates it.
    if len(parts) == 1:
        return parts[0]
    return lambda name, attributes: any(part(name, attributes) for part in parts)


def _both(parts: list[Predicate]) -> Predicate:
    if len(parts) == 1:
        return parts[0]
    return lambda name, attributes: all(part(name, attributes) for part in parts)


def _negation(inner: Predicate) -> Predicate:
    return lambda name, attributes: not inner(name, attributes)


def _one_of(key: str, values: frozenset[str]) -> Predicate:
    return lambda _name, attributes: key in attributes and str(attributes[key]) in values


def _compare(parser: _Parser, key: str, operator: str, value: str) -> Predicate:
    if operator in ("=", "!="):
        equal = _one_of(key, frozenset((value,)))
        return equal if operator == "=" else _negation(equal)
    if not _WHOLE_NUMBER.fullmatch(value):
        parser.at -= 1
        raise parser.error(f"a whole number after '{operator}'")
    bound = int(value)
    compare: dict[str, Callable[[int], bool]] = {
        ">=": lambda found: found >= bound,
        "<=": lambda found: found <= bound,
        ">": lambda found: found > bound,
        "<": lambda found: found < bound,
    }
    test = compare[operator]

    def numeric(_name: str, attributes: Attributes) -> bool:
        found = attributes.get(key)
        if isinstance(found, str):
            found = int(found) if _WHOLE_NUMBER.fullmatch(found) else None
        return found is not None and test(found)

    return numeric
