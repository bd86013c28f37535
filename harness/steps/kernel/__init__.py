"""Labs under another kernel than this machine's."""
