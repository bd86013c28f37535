"""A TLS handshake under the strict flag, by the standard library alone, so that any Python can run this file.

handshake.py FOLDER NAME: certificates as files of FOLDER: ca.crt, server.crt, server.key, client.crt, client.key.
Both sides look at the other's certificate; the client asks for the server by NAME. Says what was refused, and exits
with 1.
"""

from __future__ import annotations

import ssl
import sys
from pathlib import Path


def _context(folder: Path, side: str, purpose: ssl.Purpose) -> ssl.SSLContext:
    made = ssl.create_default_context(purpose, cafile=str(folder / "ca.crt"))
    made.verify_flags |= ssl.VERIFY_X509_STRICT
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_cert_chain(folder / f"{side}.crt", folder / f"{side}.key")
    return made


def shake(folder: Path, name: str) -> str:
    """Let client and server greet each other in memory; empty when both are content, else what one refused."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = _context(folder, "client", ssl.Purpose.SERVER_AUTH).wrap_bio(to_client, to_server, server_hostname=name)
    server = _context(folder, "server", ssl.Purpose.CLIENT_AUTH).wrap_bio(to_server, to_client, server_side=True)
    waiting = {"client": client, "server": server}
    for _ in range(20):
        for side, one in list(waiting.items()):
            try:
                one.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError as error:
                return f"the {side} refused: {error}"
            del waiting[side]
        if not waiting:
            client.write(b"who is there?")
            return "" if server.read() == b"who is there?" else "what arrived is not what was sent"
    return f"no end of it: {', '.join(waiting)}"


if __name__ == "__main__":
    REFUSED = shake(Path(sys.argv[1]), sys.argv[2])
    sys.stdout.write(f"{sys.version.split()[0]}, {ssl.OPENSSL_VERSION}: {REFUSED or 'content'}\n")
    sys.exit(bool(REFUSED))
