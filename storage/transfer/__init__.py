"""Transfer: archived objects on their way out, as a bag, a SIP or a dissemination copy; those of others on theirs in.

What leaves is made whole beside its place, hidden, and seen in one step; what comes in is copied and proven first.
"""

IMPORTED = "import.json"  # in an object: what others made, and how it came
