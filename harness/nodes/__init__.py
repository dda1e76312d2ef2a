"""The Lightning nodes of a testbed: one interface (base.py), one file for each implementation, found by its name.

A file `X.py` with one subclass of Node defines the implementation `X`; it is registered nowhere else.
"""

import functools
import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.nodes.base import Node


@functools.cache
def node_class(implementation: str) -> "type[Node]":
    """Return the class of an implementation's nodes. Its file and client library are imported by this call."""
    from harness.nodes.base import Node

    module = importlib.import_module(f"{__name__}.{implementation}")
    classes = [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, Node)]
    (found,) = (each for each in classes if each.__module__ == module.__name__)
    return found
