"""How many cores are there for us."""


def available_cores() -> int:
    """Cores that this process may use, by its affinity and the limits of its control group."""
    from joblib import cpu_count

    return cpu_count()
