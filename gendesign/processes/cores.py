"""Number of available processor cores."""


def available_cores() -> int:
    """Number of cores that this process may use, by its affinity and the limits of its control group."""
    from joblib import cpu_count

    return cpu_count()
