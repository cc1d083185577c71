"""Rows of N-gram memory tables from a pack, inside the engines that people run.

One module for each engine; importing this package imports none of them.
"""

from .identity import WrongTable

__all__ = ["WrongTable"]
