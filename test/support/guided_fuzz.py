"""One reader under atheris, which keeps the mutations that reach new code; ``reader_fuzz`` starts it for each.

``python test/support/guided_fuzz.py NUMBER FOLDER --seconds 10`` ends with status 0 when only errors of ours came out;
else the foreign exception is printed, and its file stays in the folder. How many files were read stands in libFuzzer's
report.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import traceback
from pathlib import Path

import atheris

os.environ["NUMBA_DISABLE_JIT"] = "1"  # Numba compiles no code that is instrumented

with atheris.instrument_imports(include=["spann3r_ros"]):
    import reader_fuzz

    from spann3r_ros.errors import Spann3rError


def main() -> int:
    """Never returns when the fuzzer runs: it ends the process itself."""
    parser = argparse.ArgumentParser(description="One reader under atheris.")
    parser.add_argument("number", type=int, help="place of the reader in READERS")
    parser.add_argument("folder", type=Path, help="an empty one, for its files")
    parser.add_argument("--seconds", type=int, default=10)
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    reader, folder = reader_fuzz.READERS[arguments.number], arguments.folder
    bench = reader_fuzz.Bench(folder)
    valid, corpus = bench.content(reader), folder / "corpus"
    corpus.mkdir()
    files = [valid, *(valid.replace(old, new) for old, new in reader_fuzz.FOUND.get(reader.name, []))]
    for place, content in enumerate(files):
        (corpus / str(place)).write_bytes(content)

    def read(content: bytes) -> None:
        error = bench.read(reader, content)
        if error is not None and not isinstance(error, Spann3rError):
            print(f"{reader.name}: {''.join(traceback.format_exception(error)[-3:])}", flush=True)
            raise error

    longest = 2 * len(valid) + 4096
    limits = [f"-max_total_time={arguments.seconds}", f"-max_len={longest}", "-timeout=60", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *limits, f"-artifact_prefix={folder}{os.sep}", str(corpus)], read)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
