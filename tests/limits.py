"""Limits of the system, for as long as a test needs them."""

import resource
from contextlib import contextmanager


@contextmanager
def files_of_at_most(size):
    """In bytes, for this process."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
