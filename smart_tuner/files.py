"""Opens this program's locks, logs and states safely: somebody may have put a link where they belong."""

import errno
import os
import stat
from pathlib import Path

REFUSED = "It is a link, another user's, or no plain file: see who put it there, and remove it"


def lock(path: Path) -> int:
    """A descriptor for `fcntl.flock`; no other user can lock its file. Raises OSError as `opened`."""
    return opened(path, os.O_RDWR | os.O_CREAT)


def log(path: Path) -> int:
    """A descriptor that appends to the file. Raises OSError as `opened`."""
    return opened(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def opened(path: Path, flags: int) -> int:
    """A descriptor of a plain file; one that is made is for its owner alone, or for the group whose folder
    it is in.

    Raises:
        OSError: it is a link, no plain file, or of a user who owns neither this process nor the folder, nor
            may write there by its group.
    """
    folder = path.parent.stat()
    shared = folder.st_mode & (stat.S_IWGRP | stat.S_IWOTH) == stat.S_IWGRP
    flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o660 if shared else 0o600)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENXIO):  # a link, a pipe that nobody reads
            raise
        raise PermissionError(errno.EPERM, REFUSED, str(path)) from error
    found = os.fstat(descriptor)
    trusted = shared or found.st_uid in (os.geteuid(), folder.st_uid)
    if stat.S_ISREG(found.st_mode) and trusted:
        return descriptor
    os.close(descriptor)
    raise PermissionError(errno.EPERM, REFUSED, str(path))
