from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from spann3r_ros import heap

HAS_GLIBC = hasattr(ctypes.CDLL(None), "gnu_get_libc_version")

THREADS = """
    import ctypes, re, sys, tempfile, threading
    from spann3r_ros.heap import limit_heaps
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

LAYERS = """
    import resource
    import numpy as np
    from spann3r_ros.heap import give_back_freed_memory, keep_freed_memory

    def image():  # what layers hold while an image passes through a network: 120 MB, and then nothing
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        held = [np.ones(2**20, np.float32) for _ in range(30)]
        del held
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()

    kept = keep_freed_memory()
    faults = [image() for _ in range(5)][-1]
    held = resident()
    give_back_freed_memory()
    print(int(kept), faults, held - resident())
"""


PAGES = """
    import ctypes
    import numpy as np
    from spann3r_ros.heap import use_huge_pages

    def huge():
        with open("/proc/self/smaps_rollup") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("AnonHugePages"))

    weights = [np.empty(2**20 + 1000, np.float32) for _ in range(10)]
    no_huge_page = 15
    for array in weights:  # NumPy asks for huge pages itself
        begin = -(-array.ctypes.data // 4096) * 4096
        ctypes.CDLL(None).madvise(ctypes.c_void_p(begin), ctypes.c_size_t(array.nbytes - 4096 & -4096), no_huge_page)
        array[:] = np.arange(array.size)
    before = huge()
    moved = use_huge_pages([(array.ctypes.data, array.nbytes) for array in weights])
    assert all((array == np.arange(array.size, dtype=np.float32)).all() for array in weights)
    print(before, moved, huge() - before, sum(array.nbytes for array in weights))
"""


def numbers(script: str, **environment: str) -> list[int]:
    """What a script prints in a process of its own, with nothing said about the heap but what the test says."""
    known = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", heap.TUNABLES))}
    run = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(run, capture_output=True, text=True, check=True, env={**known, **environment})
    return [int(number) for number in done.stdout.split()]


@pytest.mark.fault("endurance")
@pytest.mark.skipif(not HAS_GLIBC, reason="the C library is not glibc")
def test_threads_share_heaps_unless_the_user_says_otherwise() -> None:
    (few,), (many,) = numbers(THREADS), numbers(THREADS, MALLOC_ARENA_MAX="16")
    assert few <= heap.HEAPS
    assert many > heap.HEAPS, "or this C library has few by itself, and nothing was limited"


@pytest.mark.skipif(not HAS_GLIBC, reason="the C library is not glibc")
def test_the_memory_of_one_image_serves_the_next_and_is_given_back_when_asked() -> None:
    kept, faults, returned = numbers(LAYERS)
    assert kept
    assert faults < 300  # of 30,720 pages
    assert returned > 100 * 2**20


@pytest.mark.skipif(not HAS_GLIBC, reason="the C library is not glibc")
@pytest.mark.parametrize("name", heap.KEEPING)
def test_how_much_is_kept_is_for_the_user_to_say(name: str) -> None:
    said = "glibc.malloc.mmap_threshold=131072" if name == heap.TUNABLES else "131072"
    kept, faults, returned = numbers(LAYERS, **{name: said})
    assert not kept
    if "TRIM" not in name:  # every piece has pages of its own then
        assert faults > 10_000
        assert returned < 20 * 2**20


@pytest.mark.skipif(not heap.HUGE_PAGE.exists(), reason="this system has no huge pages")
def test_weights_move_into_huge_pages_as_they_are() -> None:
    before, moved, grown, held = numbers(PAGES)
    if not moved:
        pytest.skip("before Linux 6.1, without madvise or in scattered memory the system moves them when it has time")
    assert moved >= held / 3  # 4 MB each: often one whole page and two that are shared
    assert before + grown >= moved / 2


def test_without_huge_pages_nothing_moves(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    array = np.zeros(2**22)
    monkeypatch.setattr(heap, "HUGE_PAGE", tmp_path / "none")
    assert heap.use_huge_pages([(array.ctypes.data, array.nbytes)]) == 0


def test_memory_behind_which_a_file_is_stays_there(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(bytes(2**23))
    mapped = np.memmap(path, np.float32, "c")
    assert heap.use_huge_pages([(mapped.ctypes.data, mapped.nbytes)]) == 0


def test_other_c_libraries_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap, "_glibc", lambda: None)
    heap.limit_heaps()
    assert not heap.keep_freed_memory()
    heap.give_back_freed_memory()
