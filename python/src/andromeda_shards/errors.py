"""What is wrong, with the name of the file."""


class ShardError(ValueError):
    """A file is not what its build says, or options do not go together."""


class PositionError(ShardError):
    """A position was counted in another order."""
