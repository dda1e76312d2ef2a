"""The payee's engine: releases the payments that are held for it. Start reading in `engine`."""
