"""The one exception for input that a user can mend."""


class HslError(ValueError):
    """Bad input. Its message is one line that says what is wrong and what to do; the command
    lines print that line alone and exit with 2."""
