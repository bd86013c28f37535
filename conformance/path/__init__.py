"""A packet's way through a cluster, as the kernels that it passes must decide by what they said of themselves."""
