"""What the stub servers of the tests share: threads on a free port of loopback, TLS, silence about clients that were stopped."""
import http.server
import socket
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def reply(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class StubServer:
    """A context manager; listen() begins. Whoever derives from it may stop what its threads wait for in stopping()."""

    def listen(self, handler, address="127.0.0.1", port=0, tls=None):
        class Server(http.server.ThreadingHTTPServer):
            daemon_threads, block_on_close, request_queue_size = True, False, 128
            address_family = socket.AF_INET6 if ":" in address else socket.AF_INET

            def handle_error(self, request, client):
                pass

        self._server = Server((address, port), handler)
        if tls:     # an ssl.SSLContext; the handshake is made in the connection's thread
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self._server.server_address[1]
        self.url = "%s:%d" % ("https://localhost" if tls else "http://" + address, self.port)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stopping(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.stopping()
        self._server.shutdown()
        self._server.server_close()
