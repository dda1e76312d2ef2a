"""Takes whatever is posted over HTTPS, and prints each post as a line of JSON. Runs in push.py's container."""

import json
import os
import ssl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        print(json.dumps({"path": self.path, "headers": dict(self.headers), "body": body}), flush=True)
        self.send_response(200)
        self.end_headers()


pem = Path("/tmp/server.pem")
pem.write_text(os.environ["SERVER_PEM"])
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(pem)
server = ThreadingHTTPServer(("", 443), Handler)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
