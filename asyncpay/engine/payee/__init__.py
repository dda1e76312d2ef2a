"""The payee's engine: releases the payments that wait for it. `engine` says how to read it."""
