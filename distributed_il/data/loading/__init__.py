"""What turns blocks of rows into the batches of a step."""
