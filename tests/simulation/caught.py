"""`python -m simulation.caught NAME MOST SEED`: one mutant, in this process; how it was caught, as a line of JSON."""

import json
import sys
import time

from .breaking import break_engine
from .mutants import MUTANTS

if __name__ == "__main__":
    name, most, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    break_engine(next(mutant for mutant in MUTANTS if mutant.name == name))

    from .hunt import SEEDS_OF_ONE, tally  # imports the engines, one of them broken

    began = time.monotonic()
    total = tally(range(seed * SEEDS_OF_ONE, seed * SEEDS_OF_ONE + most), stop_at_first=True)
    found = {"caught": bool(total.failures), "schedules": total.schedules, "seconds": time.monotonic() - began}
    if total.failures:
        failure = total.failures[0]
        found |= {"rule": failure.rule, "text": failure.text, "number": failure.number}
    print(json.dumps(found))
