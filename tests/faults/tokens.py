"""What generated tables of labels consist of."""

TOKENS = [token.encode() for token in (",", '"', "\r", "\n", "\r\n", "\0", "\ufeff", "nan", "1e5", "1_0", "٣",
    "\x1a", "\\", "..", "./", "/", ";", "\t", "|", "0x10", "-", "inf", "+", "=", "9" * 400, "\u2028", "\x85",
    "\u200b", "34,5", "34.5", "30.0", " ", '""', 'sep=;\n', "sep=,\n", "file_name", "real_age", ", ",
    "\ufeff\ufeff", "#", "\x0c", "\xa0", "é", )] + [b"\xff\xfe", b"\xfe\xff", b"\xe9", b"PK\x03\x04", b"PAR1",
    b"\x1f\x8b"]  # fmt: skip
