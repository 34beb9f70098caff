"""The table of interrupts at every line: `python tests/interrupts`."""
