"""Systems measured on pairs: by the authors' protocol and seamless; statistics, tables and figures."""
