"""Errors that the user can mend: one line that says what was given, what is allowed and what to do."""


class UserError(ValueError):
    """Something the user can mend."""


class SettingsError(UserError):
    """A word of the command line, or a value of a setting, that cannot be used."""
