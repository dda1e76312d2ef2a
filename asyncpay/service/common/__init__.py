"""What both components share: the loop, the clock, the control socket, the event log and failpoints."""
