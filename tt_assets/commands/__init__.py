"""The work behind each `tt` command. `cli.py` declares the commands, this package does what they say."""
