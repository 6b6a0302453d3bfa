"""The errors a user can cause and mend."""


class AssayError(Exception):
    """Bad input or settings: one clear line, exit status 2.

    The message names the file, the line or row, what was expected and how to
    fix it. The command line prints it without a traceback.
    """
