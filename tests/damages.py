"""Ways in which a file of a run or a sweep is damaged, and the verbs that read it."""

import json
from collections.abc import Callable
from pathlib import Path

Damage = Callable[[Path], object]


def fold(path: Path) -> None:
    """A folder in the place of the file."""
    path.unlink()
    path.mkdir()


def flip(path: Path) -> None:
    """The middle byte is another one."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def put(content: bytes) -> Damage:
    """Another content."""
    return lambda path: path.write_bytes(content)


def cut(share: float) -> Damage:
    """The beginning of the file."""
    return lambda path: path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


def set_key(*keys: str, to: object) -> Damage:
    """A JSON file with another value for one key."""

    def damage(path: Path) -> None:
        content = json.loads(path.read_text())
        node = content
        for key in keys[:-1]:
            node = node[key]
        node[keys[-1]] = to
        path.write_text(json.dumps(content))

    return damage


ANY: dict[str, Damage] = {"a folder": fold, "empty": put(b""), "zeros": put(bytes(64))}
MISSING: dict[str, Damage] = {"missing": Path.unlink}
TEXT: dict[str, Damage] = {
    **ANY,
    "null": put(b"null"),
    "a number": put(b"3"),
    "text": put(b'"runs"'),
    "latin-1": put("a: é".encode("latin-1")),
    "utf-16": put("a: 1".encode("utf-16")),
    "a line break in quotes": put(b'"a\n'),
    "brackets": put(b"[" * 3000),
}
JSON: dict[str, Damage] = {
    **TEXT,
    "half": cut(0.5),
    "an empty list": put(b"[]"),
    "an infinite number": put(b"1e999"),
    "5,000 digits": put(b"9" * 5000),
    "half a character": put(b'{"status": "\\ud800"}'),
}
BINARY: dict[str, Damage] = {
    **MISSING,
    **ANY,
    "half": cut(0.5),
    "all but the end": cut(0.99),
    "a hundred bytes": lambda path: path.write_bytes(path.read_bytes()[:100]),
    "text": put(b"weights\n"),
    "a flipped byte": flip,
    "JSON": put(b'{"a": 1}'),
}
ARRAY = {name: damage for name, damage in BINARY.items() if name != "a flipped byte"}
"""Of a file without a checksum, where another number is a number, too."""
RECORD: dict[str, Damage] = {
    **TEXT,
    "a list of numbers": put(b"[1, 2]"),
    "a mapping of numbers": put(b"1: 2"),
    "a date": put(b"2020-01-01"),
    "bytes": put(b"!!binary aGVsbG8="),
    "a set": put(b"!!set {a}"),
}
RESULT: dict[str, Damage] = {
    **JSON,
    "no status": set_key("status", to=None),
    "another status": set_key("status", to="done"),
    "no objective": set_key("objective", to=None),
    "a mode": set_key("objective", "mode", to="middle"),
    "a text for a number": set_key("objective", "value", to="low"),
    "a list of metrics": set_key("metrics", to=[1]),
    "a metric in words": set_key("metrics", "test/mse", to="low"),
    "seconds in words": set_key("seconds", to={"fit": "long"}),
    "half a parameter": set_key("n_parameters", to=1.5),
}
START: dict[str, Damage] = {
    **JSON,
    "no data": set_key("data", to=None),
    "data in words": set_key("data", to="ml_100k"),
    "other rows": set_key("data", "fingerprint", to="0"),
    "another split": set_key("data", "split_fingerprint", to="0"),
    "a number for a fingerprint": set_key("data", "fingerprint", to=10**30),
    "no fingerprint": set_key("data", "split_fingerprint", to=None),
}
SWEEP: dict[str, Damage] = {
    **MISSING,
    **JSON,
    **{f"{key} is {value!r}": set_key(key, to=value) for key in ("words", "hydra", "jobs", "record", "differences")
       for value in (None, 3, "x", [3])},
    "search in words": set_key("search", to="all"),
    "an origin of its own": set_key("origin", to=[1]),
    "fewer jobs": set_key("jobs", to=[]),
    "a recorded number": set_key("record", "config", to=3),
    "a recorded list": set_key("record", "choices", to=[]),
    "no recorded words": set_key("record", "overrides", to=None),
    "no recorded folder": set_key("record", "cwd", to=None),
    "no model": set_key("record", "config", "model", to=None),
    "a model of nothing": set_key("record", "config", "model", to={}),
    "a target of nothing": set_key("record", "config", "model", "_target_", to=None),
    "a target that is a list": set_key("record", "config", "model", "_target_", to=["recsweep"]),
    "a huge seed": set_key("record", "config", "seed", to=10**30),
    "a huge size": set_key("record", "config", "trainer", "batch_size", to=10**12),
    "no trainer": set_key("record", "config", "trainer", to=[]),
    "a name of control characters": set_key("record", "config", "name", to="\x1b[2J"),
    "a reference to nothing": set_key("record", "config", "name", to="${nothing}"),
    "a value of the environment": set_key("record", "config", "name", to="${oc.env:HOME}"),
    "a missing value": set_key("record", "config", "name", to="???"),
}  # fmt: skip

READ_BY_VERBS = {
    ".hydra/config.yaml": ("evaluate", "recommend", "repeat", "sweep", "resume"),
    ".hydra/overrides.yaml": ("evaluate", "recommend", "repeat", "sweep", "resume"),
    ".hydra/hydra.yaml": ("evaluate", "recommend", "repeat", "sweep", "resume"),
    ".hydra/start.json": ("resume",),
    "metrics.json": ("evaluate", "resume"),
    "checkpoints/best.ckpt": ("evaluate", "recommend"),
    "checkpoints/last.ckpt": ("resume",),
    "embeddings/user_embeddings.npy": ("index",),
    "embeddings/item_embeddings.npy": ("index",),
    "embeddings/user_ids.npy": ("index",),
    "embeddings/item_ids.npy": ("index",),
}
"""File of a run -> the verbs that read it, by the names of `WORDS`."""

WORDS: dict[str, list[str]] = {
    "evaluate": ["evaluate", "run=run"],
    "recommend": ["recommend", "run=run", "user=3"],
    "index": ["recommend", "run=run", "user=3", "index=Flat"],
    "repeat": ["train", "run=run", "seed=1", "hydra.run.dir=new"],
    "sweep": ["train", "-m", "run=run", "seed=1,2", "hydra.sweep.dir=new"],
    "resume": ["train", "run=run", "resume=true"],
}

DAMAGES: dict[str, dict[str, Damage]] = {
    **{f".hydra/{name}.yaml": MISSING | RECORD for name in ("config", "overrides", "hydra")},
    ".hydra/start.json": START,
    "metrics.json": RESULT,
    **{name: BINARY for name in READ_BY_VERBS if name.endswith(".ckpt")},
    **{name: ARRAY for name in READ_BY_VERBS if name.endswith(".npy")},
}
"""File of a run -> its damages."""
