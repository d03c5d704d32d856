"""Loading: blocks of rows become the batches of steps."""
