"""Text files of other people: any of them may be huge, binary or in another encoding."""

from __future__ import annotations

from pathlib import Path

from spann3r_ros.errors import DataError

MOST_BYTES = 128 << 20


def read_text(path: Path, most: int = MOST_BYTES) -> str:
    """A text in UTF-8 (or UTF-16 with its mark), without a byte order mark, line ends as ``\\n``.

    Raises:
        DataError: no such file, no regular file, one of more than ``most`` bytes, or no text.
    """
    try:
        if not path.is_file():
            raise DataError(
                f"text file {path} cannot be read", got="no such file" if not path.exists() else "no regular file"
            )
        if path.stat().st_size > most:
            raise DataError(
                f"text file {path} cannot be read", got=f"{path.stat().st_size} bytes", expected=f"at most {most}"
            )
        content = path.read_bytes()
        marks = (b"\xff\xfe", b"\xfe\xff")
        text = content.decode("utf-16" if content.startswith(marks) else "utf-8-sig")
    except (OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"text file {path} cannot be read", got=error, expected="text in UTF-8", next_step="Save it as UTF-8"
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")
