"""One module for each package; they run in the process of the engine and import that package."""
