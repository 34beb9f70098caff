"""Known warnings of other packages."""

from __future__ import annotations

#: Their deprecation warnings: how the message begins, and the module that triggers it.
DEPRECATIONS = [
    ("'asyncio.iscoroutinefunction' is deprecated", "langsmith._internal._beta_decorator"),
]
#: The same as filters, for `python -W` and for pytest's `filterwarnings`.
FILTERS = [f"ignore:{message}:DeprecationWarning:{module}" for message, module in DEPRECATIONS]
