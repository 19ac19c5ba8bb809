"""Print digests of what depends on vector instructions: `python bits.py [numba]`."""

import hashlib
import json
import sys

import numpy as np
from numpy._core import _multiarray_umath as core

random = np.random.default_rng(1)
small, large = random.normal(size=(500, 64)).astype("f4"), random.normal(size=(500, 64))
found = {
    "exp": np.exp(large),
    "log": np.log(np.abs(large)),
    "pow": np.abs(large) ** 0.3,
    "sum": small.sum(0),
    "dot": small @ small.T,
    "product": large @ large.T,
}
if "numba" in sys.argv:
    import numba

    def squares(values):  # type: ignore[no-untyped-def]
        total, scaled = 0.0, np.empty_like(values)
        for row in range(values.shape[0]):
            for column in range(values.shape[1]):
                scaled[row, column] = values[row, column] * 1.1 + np.exp(values[row, column])
                total += values[row, column] * values[row, column]
        return scaled, total

    for name, fast in (("compiled", False), ("fastmath", True)):
        scaled, total = numba.njit(fastmath=fast)(squares)(large)
        found[name] = np.append(scaled, total)
digests = {name: hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest() for name, values in found.items()}
chosen = [name for name in core.__cpu_dispatch__ if core.__cpu_features__[name]]
print(json.dumps({"digests": digests, "chosen": chosen}))
