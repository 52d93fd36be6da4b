"""The verbs of the command line: one small module for each action, imported after the arguments were checked."""
