"""The worst case of a request: the most that it can use, read out of its body. One module per family of APIs."""
