"""The shared parts of both components: the loop, the clock, the control socket, the event log and failpoints."""
