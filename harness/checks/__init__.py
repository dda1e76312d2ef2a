"""What a running testbed is like: its balances, its state, the steps of a payment, and what a failure leaves behind."""
