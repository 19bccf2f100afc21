"""A thousand damaged files of all formats, each read by the command for it.

    OMP_NUM_THREADS=1 python benchmarks/mutated_files.py [number of copies of each file] [file ...]

Run it from the root of the repository. Each copy is damaged at random: bits, headers, words, lost and
repeated parts. A fault is any exit code but 0 and 2, more than 20 s of CPU time, or code that ran.
"""

import sys
import warnings

sys.path.insert(0, "tests")

from mutated import FORMATS, faults, prepare

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    num = int(sys.argv[1]) if len(sys.argv) > 1 else 56
    prepare()
    total = 0
    for name in sys.argv[2:] or FORMATS:
        found = faults(name, range(num))
        total += len(found)
        print(f"{name}: {num} copies, {len(found)} faults", *found, sep="\n", flush=True)
    print(f"{total} faults")
