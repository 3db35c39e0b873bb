"""What MkDocs writes into the pages that it builds: `GENERATORS[NAME]` in place of `<!-- generate: NAME -->`."""

import re
from typing import Any

from conf_keys import list_keys
from fitting import list_data, list_evaluations, list_models
from formulas import list_formulas
from python_names import list_names

GENERATE = re.compile(r"<!-- generate: (\w+) -->")
GENERATORS = {
    "keys": list_keys,
    "models": list_models,
    "evaluations": list_evaluations,
    "data": list_data,
    "formulas": list_formulas,
    "names": list_names,
}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page with what is generated; MkDocs calls this for each page."""
    return GENERATE.sub(lambda match: "\n".join(GENERATORS[match[1]]()), markdown)
