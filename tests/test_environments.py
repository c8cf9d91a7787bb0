"""Environments for others' packages can be made from ours, which has no pip."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

from tests.environments import making


def test_an_environment_is_made_and_filled(tmp_path: Path) -> None:
    """With a package from the disk, so that nothing is fetched."""
    wheels, folder = tmp_path / "wheels", tmp_path / "environment"
    wheels.mkdir()
    with zipfile.ZipFile(wheels / "little-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("little.py", "")
        wheel.writestr("little-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: little\nVersion: 1.0\n")
        wheel.writestr("little-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("little-1.0.dist-info/RECORD", "")
    for command in making(folder, ["--no-index", "--find-links", str(wheels), "little==1.0"]):
        subprocess.run(command, check=True, timeout=120)
    subprocess.run([folder / "bin" / "python", "-c", "import little"], check=True, timeout=60)
