"""What a file that can't be decoded really is, and what to do about it: found by its first bytes, never by its name."""

HEAD = 1024  # bytes that are looked at
HEIC = "a HEIC photograph"
RAW = "a raw camera file; export it as JPEG"

# First bytes → what the file is, with a cure where there is one. The first that fits counts.
_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "a JPEG that is damaged, or of a rare kind"),
    (b"\x89PNG\r\n\x1a\n", "a PNG that is damaged"),
    (b"GIF8", "a GIF that is damaged"),
    (b"\x0aFUJIFILM", RAW),
    (b"FUJIFILMCCD-RAW", RAW),
    (b"II\x2a\0\x10\0\0\0CR", RAW),
    (b"IIRO", RAW),
    (b"IIU\0", RAW),
    (b"II\x2a\0", "a TIFF that is damaged, or of a rare kind; save it as PNG"),
    (b"MM\0\x2a", "a TIFF that is damaged, or of a rare kind; save it as PNG"),
    (b"II\x2b\0", "a BigTIFF of a rare kind; save it as PNG"),
    (b"MM\0\x2b", "a BigTIFF of a rare kind; save it as PNG"),
    (b"II\xbc", "a JPEG XR; save it as JPEG"),
    (b"\xff\x0a", "a JPEG XL; save it as JPEG"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL; save it as JPEG"),
    (b"8BPS", "a Photoshop document; export it as JPEG or PNG"),
    (b"%PDF", "a PDF; export its pages as images"),
    (b"%!PS", "a PostScript file; export it as PNG"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript file; export it as PNG"),
    (b"\0\0\1\0", "an icon; save it as PNG"),
    (b"SIMPLE  =", "a FITS image; save it as PNG"),
    (
        b"\0\5\x16\7",
        "what macOS stores beside a file (AppleDouble, ._name); leave it out, the image has the name without ._",
    ),
    (b"\0\5\x16\0", "what macOS stores for a file (AppleSingle); copy the image itself"),
    (b"version https://git-lfs", "a pointer of Git LFS; run git lfs pull"),
    (b"version https://hawser", "a pointer of Git LFS; run git lfs pull"),
    (b"outs:", "a pointer of DVC; run dvc pull"),
    (b"/annex/objects", "a pointer of git-annex; run git annex get"),
    (b"../.git/annex", "a pointer of git-annex; run git annex get"),
    (b".git/annex", "a pointer of git-annex; run git annex get"),
    (b"XSym\n", "a symbolic link written as text; copy the image itself"),
    (b"PK\3\4", "a ZIP archive or office document; unpack it"),
    (b"PK\5\6", "an empty ZIP archive"),
    (b"\x1f\x8b", "a gzip file; unpack it"),
    (b"BZh", "a bzip2 file; unpack it"),
    (b"\xfd7zXZ", "an xz file; unpack it"),
    (b"\x28\xb5\x2f\xfd", "a zstd file; unpack it"),
    (b"7z\xbc\xaf", "a 7z archive; unpack it"),
    (b"Rar!", "a RAR archive; unpack it"),
    (b"\xd0\xcf\x11\xe0", "an old office document"),
    (b"\x93NUMPY", "a NumPy array; save it as PNG"),
    (b"\x89HDF", "an HDF5 file; save its images as PNG"),
    (b"SQLite format", "an SQLite database"),
    (b"\x1a\x45\xdf\xa3", "a video (Matroska or WebM); export a frame as JPEG"),
    (b"\0\0\1\xba", "a video (MPEG); export a frame as JPEG"),
    (b"\0\0\1\xb3", "a video (MPEG); export a frame as JPEG"),
    (b"FLV\1", "a video (Flash); export a frame as JPEG"),
    (b"\x30\x26\xb2\x75", "a video (Windows Media); export a frame as JPEG"),
    (b"OggS", "a video or sound (Ogg)"),
    (b"ID3", "a sound (MP3)"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program for Windows"),
    (b"/9j/", "an image written as text (base64); decode it first"),
    (b"iVBORw0KGgo", "an image written as text (base64); decode it first"),
    (b"data:image/", "an image written as text (a data: address); decode it first"),
)
_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_RIFF = {b"AVI ": "a video (AVI); export a frame as JPEG", b"WAVE": "a sound (WAV)", b"WEBP": "a WebP that is damaged"}
_PAGES = (b"<!doctype html", b"<html", b"<head", b"<body", b"<script")


def is_heic(head: bytes) -> bool:
    """Whether these first bytes are of a HEIC or HEIF photograph, as iPhones take them."""
    return head[4:8] == b"ftyp" and head[8:12] in _HEIC_BRANDS and b"avif" not in head[12:64]


def describe(head: bytes) -> str:
    """What a file with these first bytes seems to be, for people; with a cure where there is one."""
    if not head:
        return "an empty file (0 bytes)"
    if is_heic(head):
        return f"{HEIC}; export it as JPEG, or install pillow-heif, which reads it: pip install 'age-retraining[heic]'"
    if head[4:8] == b"ftyp":
        return (
            "an AVIF that is damaged" if b"avi" in head[8:32] else "a video (MP4 or QuickTime); export a frame as JPEG"
        )
    if head[4:8] in (b"moov", b"mdat", b"wide"):
        return "a video (QuickTime); export a frame as JPEG"
    if head.startswith(b"RIFF") and head[8:12] in _RIFF:
        return _RIFF[head[8:12]]
    if found := next((what for magic, what in _MAGIC if head.startswith(magic)), ""):
        return found
    if not head.strip(b"\0"):
        return "only zero bytes: a copy that was never completed; copy it again"
    return _text(head) or "its first bytes are " + head[:8].hex(" ")


def _text(head: bytes) -> str:
    """What a text is; empty if it is none."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "a text file (UTF-16)"
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith(_PAGES) or (start.startswith((b"<!--", b"<?xml")) and b"<html" in start):
        return "an HTML page: a download that was answered with a page; download the image again"
    if start.startswith((b"<?xml", b"<svg", b"<error")):
        if b"<code>" in start or b"<error" in start:
            return "an XML file: a download that was answered with an error; download the image again"
        return "an XML file"
    if start.startswith((b"{", b"[")):
        return "a JSON file" if _is_text(head) else ""
    return "a text file" if _is_text(head) and len(head) > 1 else ""


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8", "strict" if len(head) < HEAD else "ignore")
    except UnicodeDecodeError:
        return False
    return all(char.isprintable() or char in "\t\r\n" for char in text)
