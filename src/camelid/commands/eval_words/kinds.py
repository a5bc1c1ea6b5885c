"""What the files of this package share."""

from __future__ import annotations

import argparse
from collections.abc import Callable

Command = Callable[..., argparse.ArgumentParser]
"""`command(verbs, name, place, text, json=True)`: a verb that calls `place`, module:function in camelid.commands."""
