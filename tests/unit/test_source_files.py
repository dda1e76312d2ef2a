"""A file is one subject that can be read in one go."""

from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
MOST_LINES = 400
SOURCES = [
    path
    for folder, pattern in (("asyncpay", "*.py"), ("harness", "*.py"), ("tests", "*.py"), ("docker", "*/src/**/*.rs"))
    for path in (CHECKOUT / folder).rglob(pattern)
    if "_pb2" not in path.name  # generated
]


def test_no_file_is_too_long_to_be_read_in_one_go() -> None:
    lines = {str(path.relative_to(CHECKOUT)): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert len(lines) > 500, "they are found"
    assert {path: number for path, number in lines.items() if number > MOST_LINES} == {}
