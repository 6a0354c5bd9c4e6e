"""Servers on this host in the place of those that messages go to: they keep what they got, and answer as they are told.

with Bot(secret="s", answers=["11232", "ok"]) as bot:
    ...
    assert bot.signed and bot.cards[0]["header"]["template"] == "green"
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import ssl
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Bot:
    """One server. ``answers`` are words, one for each request, the last for all others too:

    ``ok``, a code of Lark's, ``http NUMBER``, ``garbage``, ``list``, ``close``, ``hang``, ``drip``, ``move URL``.
    With a ``secret`` the signature is verified as the real one does, and refused with 19021. With a ``certificate``, a
    file with that and its key, it is asked by TLS.
    """

    def __init__(self, answers=("ok",), secret="", certificate=None):
        self.requests = []
        self.tunnels = []
        self.signed = True
        self.answers = list(answers)
        self._secret = secret
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.host = f"http{'s' if certificate else ''}://127.0.0.1:{self.port}"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def bodies(self):
        return [body for _, body in self.requests]

    @property
    def cards(self):
        return [body["card"] for body in self.bodies if "card" in body]

    @property
    def titles(self):
        return [card["header"]["title"]["content"] for card in self.cards]

    def _handler(bot):  # noqa: N805 - the handler has a self of its own
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                body = json.loads(raw)
                with bot._lock:
                    bot.requests.append((self.path, body))
                    answer = bot.answers.pop(0) if len(bot.answers) > 1 else bot.answers[0]
                if bot._secret and not bot._verified(body):
                    bot.signed, answer = False, "19021"
                bot._answer(self, answer)

            def do_CONNECT(self):
                bot.tunnels.append(self.path)
                self.send_error(405)

            def log_message(self, *_):
                pass

        return Handler

    def _verified(self, body):
        """As Lark says it: the key is the time and the secret, and nothing is signed by it."""
        key = f"{body.get('timestamp')}\n{self._secret}".encode()
        wanted = base64.b64encode(hmac.new(key, b"", hashlib.sha256).digest()).decode()
        return body.get("sign") == wanted and abs(time.time() - int(body["timestamp"])) < 3600

    def _answer(self, handler, answer):
        word, _, rest = answer.partition(" ")
        if word == "hang":
            self._over.wait()
        elif word == "close":
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            handler.connection.close()
        elif word == "drip":
            with suppress(OSError):
                handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
                while not self._over.wait(0.05):
                    handler.wfile.write(b"x")
        else:
            texts = {"ok": '{"code": 0, "msg": "success"}', "garbage": "<html>", "list": "[0]"}
            text = texts.get(word, json.dumps({"code": int(word) if word.isdigit() else 1, "msg": "no"})).encode()
            handler.send_response(int(rest) if word == "http" else 302 if word == "move" else 200)
            if word == "move":
                handler.send_header("Location", rest)
            handler.send_header("Content-Length", str(len(text)))
            handler.end_headers()
            handler.wfile.write(text)
