"""ready.py ADDRESS PORT DOORS: exit code 0 where the door there is ready or, without DOORS, where somebody listens."""

import socket
import ssl
import sys
import urllib.request

address, port, doors = sys.argv[1:4]
try:
    if doors:
        secure = doors == "secure"
        url = f"http{'s' * secure}://{address}:{port}/v2/health/ready"
        # It asks its own container: the certificate is for those outside, whose name for it is another.
        context = ssl._create_unverified_context() if secure else None
        urllib.request.urlopen(url, timeout=5, context=context).close()
    else:
        socket.create_connection((address, int(port)), timeout=5).close()
except OSError as error:
    sys.exit(f"not ready: {error}")
