"""How the weights of the `universal` method are trained: scans, random acquisitions, the loop, the file."""
