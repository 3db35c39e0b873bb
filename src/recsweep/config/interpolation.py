"""Interpolations `${…}` that multiply: a few lines of `b=${a}${a}`, `c=${b}${b}` stand for millions of values."""

from contextvars import ContextVar
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.base import Container
from omegaconf.errors import InterpolationResolutionError

MAX_INTERPOLATIONS = 2_000
"""Interpolations behind one value, or in one call of `resolve`; the configuration of a run has about a hundred."""
MAX_TEXT = 1 << 20
"""Characters of a value."""

_n_resolved: ContextVar[int | None] = ContextVar("n_resolved", default=None)


def resolve(cfg: DictConfig, *, throw_on_missing: bool = False) -> Any:
    """The configuration as plain values; `InterpolationResolutionError` where its interpolations multiply."""
    start = _n_resolved.set(0)
    try:
        return OmegaConf.to_container(cfg, resolve=True, throw_on_missing=throw_on_missing)
    finally:
        _n_resolved.reset(start)


def _resolve_parse_tree(container: Container, *arguments: Any, **options: Any) -> Any:
    """Resolves an interpolation as OmegaConf does, and counts it."""
    n_before = _n_resolved.get()
    _n_resolved.set((n_before or 0) + 1)
    try:
        if (n_before or 0) >= MAX_INTERPOLATIONS:
            raise InterpolationResolutionError(f"more than {MAX_INTERPOLATIONS:,} interpolations for one value")
        value = _resolve_as_omegaconf(container, *arguments, **options)
        if isinstance(value, str) and len(value) > MAX_TEXT:
            raise InterpolationResolutionError(f"interpolations make a text of more than {MAX_TEXT:,} characters")
        return value
    finally:
        if n_before is None:
            _n_resolved.set(None)


_resolve_as_omegaconf = Container.resolve_parse_tree
Container.resolve_parse_tree = _resolve_parse_tree  # type: ignore[method-assign, assignment]
