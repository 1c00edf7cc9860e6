"""Reference policies: one idea a file. The folder says the kind: human, published_ai, null."""
