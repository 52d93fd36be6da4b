"""`python -m gendesign`, which is the command `gendesign`."""

from gendesign.cli import entry

if __name__ == "__main__":
    entry()
