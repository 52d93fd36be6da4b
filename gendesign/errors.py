"""Errors that the user can correct. The message is one line: what was given, what is allowed, what to do."""


class UserError(ValueError):
    """An error in the input that the user can correct."""


class SettingsError(UserError):
    """An invalid word on the command line, or an invalid value of a setting."""
