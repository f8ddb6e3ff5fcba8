"""Closes stderr, lets a file or a socket take its number, then makes a request: reuse_fd2.py file|socket URL OUT.

Writes to OUT what arrived on the thing that is fd 2 now: it must be nothing that we did not write."""
import os
import socket
import sys
import urllib.request

kind, url, out = sys.argv[1:4]
os.close(2)
if kind == "file":
    fd = os.open(out + ".fd2", os.O_RDWR | os.O_CREAT)
    assert fd == 2, fd
else:
    ours, theirs = socket.socketpair()          # takes 2 and the next
    assert ours.fileno() == 2, ours.fileno()
urllib.request.urlopen(url).read()
if kind == "file":
    data = os.pread(2, 1 << 20, 0)
else:
    theirs.setblocking(False)
    try:
        data = theirs.recv(1 << 20)
    except BlockingIOError:
        data = b""
with open(out, "wb") as f:
    f.write(data)
if kind == "socket":
    theirs.settimeout(0.5)                      # and at exit, when everything is flushed
    pid = os.fork()
    if pid:
        ours.close()
        try:
            more = theirs.recv(1 << 20)
        except OSError:
            more = b""
        with open(out, "ab") as f:
            f.write(more)
    else:
        theirs.close()
