"""Zips that are the same, byte for byte, for the same files."""

import io
import zipfile
from collections.abc import Mapping

# The oldest moment that a zip entry can carry.
TIMESTAMP = (1980, 1, 1, 0, 0, 0)


def zip_files(sources: Mapping[str, bytes]) -> bytes:
    """Zip the files: sorted, stored (deflate differs between zlib builds), one time and mode."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(sources):
            entry = zipfile.ZipInfo(path, TIMESTAMP)
            entry.create_system = 3  # Unix, whatever this machine is
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, sources[path])
    return buffer.getvalue()


def unzip_files(body: bytes) -> dict[str, bytes]:
    """Return the files of a zip: path to content.

    Raises:
        zipfile.BadZipFile: it is none.
    """
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
