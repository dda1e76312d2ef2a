"""The command `testbed`: main.py has the application, the other files one group of commands each."""
