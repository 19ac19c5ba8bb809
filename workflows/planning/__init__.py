"""From what a flow's body says to a plan: code, schemas, steps, all known before anything is made."""
