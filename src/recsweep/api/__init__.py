"""What `import recsweep` offers, and the verbs share; `train` and `compose` are in `commands.functions`."""
