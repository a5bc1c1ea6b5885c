"""Real data for tests: other people's files, never copied into the project, so a user's checkout has none of them.

CAMELID_DATA names their folder. Where it is absent, as for most users, tests of published figures have nothing to
recompute and are skipped; the machines on which changes are accepted have it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("CAMELID_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no {DATA}; set CAMELID_DATA to the folder of real data")
