# Zip archives as Python's zipfile writes them: the outside source of the archive reader's tests.
# Run: python3 test/goldens/make/archives.py test/goldens/archives
import io, sys, zipfile
from pathlib import Path

out = Path(sys.argv[1])
time = (2024, 1, 2, 3, 4, 6)
# Compressible and not: 40,000 bytes of a linear congruential generator between repeats.
state, noise = 1, bytearray()
for _ in range(3000):
    state = (state * 1103515245 + 12345) & 0x7FFFFFFF
    noise.append(state >> 16 & 255)
model = b"GGUF" + b"irori " * 500 + bytes(noise) + b"\0" * 1000


def info(name, method=zipfile.ZIP_STORED, mode=0o100644):
    entry = zipfile.ZipInfo(name, time)
    entry.compress_type = method
    entry.external_attr = mode << 16
    entry.create_system = 3
    return entry


def write(path, method, **options):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info("pkg/__init__.py"), b"raise SystemExit('never executed')\n")
        with archive.open(info("pkg/weights/model.gguf", method), "w", **options) as member:
            member.write(model)
        archive.writestr(info("pkg-1.dist-info/RECORD", method), b"pkg/__init__.py,,\n")
        archive.comment = b"a comment with PK\x05\x06 in it"


class Unseekable(io.RawIOBase):
    def __init__(self):
        self.bytes = bytearray()

    def writable(self):
        return True

    def write(self, data):
        self.bytes += data
        return len(data)


(out / "model.bin").write_bytes(model)
write(out / "stored.zip", zipfile.ZIP_STORED)
write(out / "deflated.zip", zipfile.ZIP_DEFLATED)
stream = Unseekable()
write(stream, zipfile.ZIP_DEFLATED)
(out / "streamed.zip").write_bytes(stream.bytes)
write(out / "zip64-local.zip", zipfile.ZIP_DEFLATED, force_zip64=True)
zipfile.ZIP64_LIMIT, zipfile.ZIP_FILECOUNT_LIMIT = 100, 2
write(out / "zip64.zip", zipfile.ZIP_DEFLATED, force_zip64=True)
zipfile.ZIP64_LIMIT, zipfile.ZIP_FILECOUNT_LIMIT = (1 << 31) - 1, 65535
evil = ["../escape.gguf", "/absolute.gguf", "a/../../escape.gguf", "back\\slash.gguf", "C:/drive.gguf", "./dot.gguf"]
with zipfile.ZipFile(out / "evil.zip", "w") as archive:
    for name in evil:
        entry = info("placeholder")
        entry.filename = name  # past zipfile's own cleaning
        archive.writestr(entry, b"GGUF evil")
    archive.writestr(info("link.gguf", mode=0o120777), b"/etc/passwd")
    archive.writestr(info("folder.gguf/", mode=0o040755), b"")
    archive.writestr(info("packed.gguf", zipfile.ZIP_BZIP2), b"GGUF bzip2")
    archive.writestr(info("good/fine.gguf"), b"GGUF fine")
