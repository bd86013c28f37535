"""Requirements by area; each module holds its checks and the pure functions that judge them."""
