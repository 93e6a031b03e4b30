"""The terminal UI of Crystallize: see, create, run and compare experiments without leaving the terminal."""
