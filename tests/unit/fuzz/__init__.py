"""Strangers against the running shells: whatever comes in, the component lives, answers others, and its store opens."""
