"""The expert kernels in C++; see README.md in this folder."""
