"""What programs in containers answer, made fit for JSON and UTF-8 where it enters."""

from typing import Any


def cleaned(value: Any) -> Any:
    """The same value without half surrogate pairs in its texts, which JSON can say and UTF-8 cannot."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, dict):
        return {cleaned(key): cleaned(each) for key, each in value.items()}
    return [cleaned(each) for each in value] if isinstance(value, list) else value
