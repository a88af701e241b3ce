from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import textwrap

import pytest

from spann3r_ros.ros.heap import HEAPS

SCRIPT = """
    import ctypes, re, sys, tempfile, threading
    from spann3r_ros.ros.heap import limit_heaps
    limit_heaps()
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    meet = threading.Barrier(16)
    def work():
        held = libc.malloc(50_000)
        meet.wait()
        libc.free(held)
    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    libc.fopen.restype, libc.fopen.argtypes = ctypes.c_void_p, [ctypes.c_char_p, ctypes.c_char_p]
    libc.malloc_info.argtypes, libc.fclose.argtypes = [ctypes.c_int, ctypes.c_void_p], [ctypes.c_void_p]
    with tempfile.NamedTemporaryFile() as file:
        stream = libc.fopen(file.name.encode(), b"w")
        libc.malloc_info(0, stream)
        libc.fclose(stream)
        print(len(re.findall(rb"<heap nr=", file.read())))
"""


def heaps(**environment: str) -> int:
    """How many there are after sixteen threads took memory at once."""
    known = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
    run = [sys.executable, "-c", textwrap.dedent(SCRIPT)]
    done = subprocess.run(run, capture_output=True, text=True, check=True, env={**known, **environment})
    return int(done.stdout)


@pytest.mark.fault("endurance")
@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="the C library is not glibc")
def test_threads_share_heaps_unless_the_user_says_otherwise() -> None:
    assert heaps() <= HEAPS
    assert heaps(MALLOC_ARENA_MAX="16") > HEAPS, "or this C library has few by itself, and nothing was limited"
