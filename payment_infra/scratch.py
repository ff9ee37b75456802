"""Room for temporary files: in TMPDIR, or else in the system's place."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from payment_infra.errors import PaymentInfraError
from payment_infra.files import NO_ROOM

# As much as shows that a file can be written.
PROBE_BYTES = 65_536


@contextmanager
def scratch_folder(room_bytes: int = PROBE_BYTES) -> Iterator[Path]:
    """Make a folder for what is needed only meanwhile, in TMPDIR or else the system's place.

    Where TMPDIR names a folder, no other is taken: it may be the only one that is private, or has
    the room.

    Args:
        room_bytes: how much will be written there at least.

    Raises:
        PaymentInfraError: there is no such place, nothing can be written there, or it has not the
            room, at the beginning or later; it is named.
    """
    place = os.environ.get("TMPDIR", "")
    with ExitStack() as stack:
        try:
            place = place or tempfile.gettempdir()
            folder = Path(tempfile.mkdtemp(prefix="payment-infra-", dir=place))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            check_room(folder, room_bytes)
        except OSError as error:
            raise _unusable(place, error) from error
        try:
            yield folder
        except OSError as error:
            if error.errno in NO_ROOM and (
                error.filename is None or folder in Path(error.filename).parents
            ):
                raise _unusable(place, error) from error
            raise


def check_room(folder: Path, room_bytes: int) -> None:
    """Make sure that something can be written in a folder, and so many bytes.

    A folder can be made where no file has room. What the file system says is free is more than a
    quota leaves; it says 0 of 0 where it does not know.

    Raises:
        OSError: that cannot be, with how much is free where that is too little.
    """
    probe = folder / "room"
    try:
        probe.write_bytes(bytes(PROBE_BYTES))
    finally:
        probe.unlink(missing_ok=True)
    disk = shutil.disk_usage(folder)
    if disk.total and disk.free < room_bytes:
        free, needed = (f"{number / 1e6:.1f} MB" for number in (disk.free, room_bytes))
        raise OSError(errno.ENOSPC, f"{free} are free, and {needed} are needed")


def _unusable(place: str, error: OSError) -> PaymentInfraError:
    return PaymentInfraError(
        f"{place or 'TMPDIR'}: cannot be used for temporary files ({error.strerror}); "
        "mend that, or name another folder in TMPDIR"
    )
