"""Tiny wheels, and requirements that pin them."""

from __future__ import annotations

import hashlib
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path


def wheel(folder: Path, name: str, files: Mapping[str, str]) -> Path:
    """Make a wheel, in the order of the files, with the time of day."""
    path = folder / name
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file, content in files.items():
            archive.writestr(zipfile.ZipInfo(file, time.gmtime()[:6]), content)
    return path


def installable(
    folder: Path,
    distribution: str,
    version: str = "1.0",
    needs: str = "",
    source: str = "x = 1\n",
    python: str = "",
) -> Path:
    """Make a wheel that pip takes, of one module; python says which it takes, as >=3.11."""
    info = f"{distribution}-{version}.dist-info"
    return wheel(
        folder,
        f"{distribution}-{version}-py3-none-any.whl",
        {
            f"{distribution}.py": source,
            f"{info}/METADATA": (
                f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
                + (f"Requires-Dist: {needs}\n" if needs else "")
                + (f"Requires-Python: {python}\n" if python else "")
            ),
            f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/RECORD": "",
        },
    )


def pin(requirements: Path, *wheels: Path, **hashes: str) -> None:
    """Write requirements for these wheels, with other hashes if given."""
    lines = []
    for path in wheels:
        name, version = path.name.split("-")[:2]
        digest = hashes.get(name, hashlib.sha256(path.read_bytes()).hexdigest())
        lines.append(f"{name}=={version} \\\n    --hash=sha256:{digest}\n")
    requirements.write_text("".join(lines))
