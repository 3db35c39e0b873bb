"""Files that are no YAML, or no JSON, or far too much of it; each with a part of the message about it."""

BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
)
"""Nine aliases nine times over: 9 ** 10 values."""

BROKEN_YAML: dict[str, tuple[bytes, str]] = {
    "alias bomb": (BOMB.encode(), ":6: more than 100000 values, with those that aliases repeat"),
    "alias to itself": (b"a: 1\nb: &b [*b]", ":2: *b stands for nothing before it"),
    "brackets": (b"[" * 5000, ":1: more than 50 levels"),
    "a million brackets": (b"[" * 1_000_000, ":1: more than 50 levels"),
    "dashes": (b"- " * 10_000, ":1: more than 50 levels"),
    "far too long": (b"a: b\n" * 220_000, ": 1100000 bytes, allowed are 1048576"),
    "tab": (b"a:\n\tb: 1", ":2: found character that cannot start any token: '\\tb: 1'"),
    "colon": (b"a: 1: 2", ":1: mapping values are not allowed in this context: 'a: 1: 2'"),
    "open bracket": (b"a: [1\nb: 2", ":2: did not find expected ',' or ']'"),
    "tag": (b"a: !!python/object/apply:os.system [ls]", ":1: could not determine a constructor for the tag"),
    "two documents": (b"a: 1\n---\nb: 2", ":2: but found another document"),
    "latin-1": (b"a: 1\nb: l\xe9ger", ":2: not UTF-8 (byte 0xe9); save it as UTF-8"),
    "utf-16": ("a: 1".encode("utf-16"), ":1: not UTF-8 (byte 0xff)"),
    "control character": (b"a: \x00", ": unacceptable character #x0000"),
}

BROKEN_JSON: dict[str, tuple[bytes, str]] = {
    "brackets": (b"[" * 200_000, ": nested too deeply"),
    "braces": (b'{"a":' * 200_000, ": nested too deeply"),
    "far too long": (b" " * 16_777_217, ": 16777217 bytes, allowed are 16777216"),
    "half": (b'{"status":\n "comp', ":2: not JSON (Unterminated string starting at)"),
    "empty": (b"", ":1: not JSON (Expecting value)"),
    "latin-1": (b'{"a": "\xe9"}', ":1: not UTF-8 (byte 0xe9)"),
    "half a character": (b'{"a": "\\ud800"}', ": holds half a character"),
}
