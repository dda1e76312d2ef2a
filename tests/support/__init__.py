"""What all tests share: payments to make and check, peers that a test scripts, known keys, vectors."""
