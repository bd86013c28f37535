"""Commands of `cnilab`: one module each, imported when it runs."""
