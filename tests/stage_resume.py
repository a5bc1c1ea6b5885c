"""A stage that was stopped in the middle of a file, executed again in this process."""

from __future__ import annotations

import shutil
from pathlib import Path

from camelid.runs import Stage, execute, read_manifest


def resumed(stage: Stage, undisturbed: Path, file: str, rows: int, root: Path) -> None:
    """Assert that the stage leaves what it left at `undisturbed`, where a kill leaves `rows` and a half of `file`.

    What the stage writes after `file` is taken away. tests/test_kill.py kills processes.
    """
    expected = read_manifest(undisturbed)
    path = root / undisturbed.name
    shutil.copytree(undisturbed, path)
    for name in expected["outputs"]:
        if name != file:
            (path / name).unlink()
    (path / "manifest.json").unlink()
    lines = (path / file).read_bytes().splitlines(keepends=True)
    assert rows < len(lines)
    (path / file).write_bytes(b"".join(lines[:rows]) + lines[rows][: len(lines[rows]) // 2])
    assert execute([stage], root)[stage.name] == path
    again = read_manifest(path)
    assert again["outputs"] == expected["outputs"]
    assert again["metrics"] == expected["metrics"]
