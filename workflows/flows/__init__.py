"""The flows that come with terp, and, apart from them, their kernels and pictures."""
