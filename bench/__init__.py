"""How fast is it? One script a table; each prints a table and, last, one JSON object."""
