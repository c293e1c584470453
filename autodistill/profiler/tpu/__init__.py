"""TPU programs compiled without a TPU, and the compiler's own estimate of their time."""
