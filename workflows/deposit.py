"""Archive what a run made."""


def deposit(*_: object) -> dict[str, object]:
    return {}
