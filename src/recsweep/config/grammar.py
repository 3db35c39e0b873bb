"""What Hydra's grammar of overrides refuses: the character, and how to write the override instead."""

import re
import shlex
from typing import Any

from antlr4 import CommonTokenStream, InputStream  # type: ignore[import-untyped]
from antlr4.error.ErrorListener import ErrorListener  # type: ignore[import-untyped]
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import OverrideParseException
from hydra.grammar.gen.OverrideLexer import OverrideLexer
from hydra.grammar.gen.OverrideParser import OverrideParser

ENDS = (",[]{}", ",[]{}:", "")
"""What an element of a value lies between, at first guess, at second, and the whole value."""


class _FirstError(ErrorListener):
    """Ends the parsing at its first error, with the index of the character."""

    def syntaxError(self, recognizer: Any, symbol: Any, line: int, column: int, msg: str, error: Any) -> None:
        raise IndexError(symbol.start if symbol else error.startIndex)


def _find_error(override: str) -> int | None:
    """The index of the first character that the grammar refuses; the length if more is wanted, None if all is well."""
    lexer = OverrideLexer(InputStream(override))
    parser: Any = OverrideParser(CommonTokenStream(lexer))
    for part in (lexer, parser):
        part.removeErrorListeners()
        part.addErrorListener(_FirstError())
    try:
        parser.override()
    except IndexError as error:
        return int(error.args[0])
    return None


def describe_syntax(error: OverrideParseException) -> str:
    """The error in one line: which character it is, and how to write the override."""
    override = error.override
    index = _find_error(override)
    key, equals, value = override.partition("=")
    if index is None:  # an error of a function such as range()
        reason = str(error).splitlines()[1].partition(" while evaluating ")[2].partition(": ")[2]
        return f"{override}: {reason or str(error).splitlines()[1]}; as text write {_quote_value(override)}"
    if not equals:
        return f"{override}: not of the form key=value; quote a value that holds blanks: 'key=\"a b\"'"
    if index <= len(key):
        what = "is not complete" if index == len(key) else f"cannot hold {_show(override[index])}"
        return f"{override}: the key {what}"
    if index == len(override):
        if value.rstrip().endswith(","):
            return f"{override}: no value after the comma; write values without blanks between them: {key}=a,b"
        return f"{override}: a bracket has no end; as text write {_quote_value(override)}"
    return _describe_character(override, index)


def _describe_character(override: str, index: int) -> str:
    key, character = override.partition("=")[0], override[index]
    if character in "\"'" and override[index - 1] in "=,[{:":
        return f"{override}: the quote {character} has no end"
    if ")" in override[len(key) : index]:
        character = "("  # Hydra takes what stands before it for the name of a function
    refusal = f"{key}: Hydra does not take {_show(character)}"
    if character == "\r":
        return f"{refusal}; take it out: lines of a script end with \\n alone"
    if ord(character) < ord(" "):
        return f"{refusal}; take it out"
    if re.match("~(/|$)", override[index:]):
        with_home = f"{override[:index]}$HOME{override[index + 1 :]}"
        advice = with_home if _find_error(with_home) is None else "$HOME in its place"
        return f"{refusal}, nor does the shell replace it there; write {advice}"
    return f"{refusal} unquoted; write {_quote(override, index)}"


def _show(character: str) -> str:
    """The character in quotes, those that cannot be seen by their number."""
    quote = "'" if character == '"' else '"'
    return quote + (character if character.isprintable() else ascii(character)[1:-1]) + quote


def _quote(override: str, index: int) -> str:
    """The override for the shell, with the element around the index in quotes, and others that need them."""
    begin = override.index("=") + 1
    for ends in ENDS:
        left = max([begin, *(override.rfind(end, begin, index) + 1 for end in ends)])
        right = min([len(override), *(place for end in ends if (place := override.find(end, index)) >= 0)])
        quoted = QuotedString(override[left:right], Quote.double).with_quotes()
        candidate = override[:left] + quoted + override[right:]
        next_error = _find_error(candidate)
        if next_error is None:
            return shlex.quote(candidate)
        if next_error > left + len(quoted):
            return _quote(candidate, next_error)
    return _quote_value(override)


def _quote_value(override: str) -> str:
    """The override for the shell, with its whole value in quotes."""
    key, _, value = override.partition("=")
    return shlex.quote(f"{key}={QuotedString(value, Quote.double).with_quotes()}")
