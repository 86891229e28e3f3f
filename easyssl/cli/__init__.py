"""The `easyssl` command: one thin file per sub command, `main` dispatches."""
