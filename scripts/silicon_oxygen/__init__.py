"""The recipe of the checkpoint `silicon-oxygen`; README.md has the order of the steps."""
