"""How long to wait before something is repeated that was not answered."""

_MOST_DOUBLINGS = 60  # by then any pause is longer than anybody waits, and still far from a float's limit


def doubled(first_seconds: float, most_seconds: float, times: int) -> float:
    """first_seconds, doubled so many times, but most_seconds at most."""
    return min(first_seconds * 2.0 ** min(times, _MOST_DOUBLINGS), most_seconds)
