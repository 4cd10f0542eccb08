"""Answers as Rainer's server does, or misbehaves as it is told: fake_server.py FAULT [SOCKET | CERT KEY].

It prints its address, and writes each request as a line of JSON to the file `requests`."""

import base64
import json
import socket
import socketserver
import ssl
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, unquote, urlsplit

fault, places = sys.argv[1], sys.argv[2:]
commits = {}  # key: [(meta, payload), ...]
lock = threading.Lock()
requests = open("requests", "a", buffering=1)
TEXT, JSON = "text/plain; charset=UTF-8", "application/json; charset=UTF-8"


def keep(key, author, comment, payload, empty=False):
    versions = commits.setdefault(key, [])
    meta = dict(author=author, comment=comment, key=key, version=len(versions) + 1,
                mtime="2026-11-21T16:13:31.042Z", empty=empty)
    versions.append((meta, payload))
    return meta


def found(key, version=None):
    versions = commits.get(key, [])
    if version is None:
        return versions[-1] if versions else None
    return versions[version - 1] if 0 < version <= len(versions) else None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30

    def log_message(self, *_):
        pass

    def reply(self, status, body, kind=TEXT, meta=None, more=()):
        head = [f"HTTP/1.1 {status} X", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *more]
        if meta:
            names = ["key", "version", "author", "comment"]
            # The JSON has what a header cannot.
            plain = {name: str(meta[name]).replace("\x1b", " ").replace("\x07", " ") for name in names}
            head += [f"X-Rainer-{name.title()}: {plain[name]}" for name in names]
            head += [f"X-Rainer-Modified-Time: {meta['mtime']}",
                     f"X-Rainer-Empty: {'Yes' if meta['empty'] else 'No'}"]
        self.raw("\r\n".join(head).encode() + b"\r\n\r\n" + body)

    def raw(self, answer):
        try:
            self.wfile.write(answer)
        except OSError:
            pass
        self.close_connection = True

    def json(self, value, meta=None, status=200):
        self.reply(status, json.dumps(value, separators=(",", ":")).encode() + b"\r\n", JSON, meta)

    def handle_one_request(self):
        if fault == "silent":
            time.sleep(60)
        if fault == "no-http":
            self.rfile.readline()
            return self.raw(b"220 mail.example ESMTP\r\n")
        super().handle_one_request()

    def do_GET(self):
        self.answer("GET")

    def do_POST(self):
        self.answer("POST")

    def answer(self, method):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        requests.write(json.dumps([method, self.path, dict(self.headers)]) + "\n")
        if self.misbehaves(method):
            return
        url = urlsplit(self.path)
        parts = [unquote(part) for part in url.path.strip("/").split("/")]
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        with lock:
            if parts[0] == "-" and parts[1] == "published":
                return self.published(method)
            if parts[0] != "diary":
                return self.reply(404, b"Not found")
            if method == "POST":
                return self.save(parts[1], int(parts[2]), body)
            self.read(parts[1:], query)
            head = found(parts[1]) if fault == "rival" and parts[-1] == "meta" else None
            if head and head[0]["author"] != "lea":
                keep(parts[1], "lea", "faster", b"hers\n")

    def read(self, parts, query):
        if not parts:
            heads = {key: versions[-1] for key, versions in commits.items()}
            shown = {key: meta for key, (meta, _) in heads.items() if query.get("all") or not meta["empty"]}
            return self.json(shown)
        key, below = parts[0], parts[1:]
        if below == ["-", "log"]:
            metas = [meta for meta, _ in reversed(commits.get(key, []))]
            before = int(query["before"]) if "before" in query and fault != "log-again" else 1 << 62
            metas = [meta for meta in metas if meta["version"] < before][:int(query["limit"])]
            if not metas and "before" not in query:
                return self.reply(404, b"Key not found")
            return self.json(metas)
        version = int(below[0]) if below and below[0] != "meta" else None
        commit = found(key, version)
        if not commit:
            return self.reply(404, b"Key not found")
        meta, payload = commit
        if fault == "another-key":
            meta = dict(meta, key="other")
        if below and below[-1] == "meta":
            return self.json(meta, meta)
        self.reply(200, payload, TEXT, meta)

    def save(self, key, version, body):
        expected = len(commits.get(key, [])) + 1
        if version != expected:
            conflict = dict(key=key, expectedVersion=expected, providedVersion=version)
            return self.json(dict(conflict=conflict), status=409)
        author = self.headers["X-Rainer-Author"].encode("latin-1").decode()
        comment = self.headers.get("X-Rainer-Comment", "").encode("latin-1").decode()
        empty = self.headers.get("X-Rainer-Empty", "No") == "Yes"
        if fault == "escapes":
            author, comment = author + "\x1b]0;author\x07", comment + "\x1b[31m"
        meta = keep(key, author, comment, body, empty)
        if fault == "lost-save":
            return self.raw(b"")
        self.json(meta, None if fault == "escapes" else meta)

    def published(self, method):
        if fault == "no-keeper":
            return self.json(dict(leader=False, keeper=None, differences=[], checked=0, differing=0, repaired=0))
        differences = []
        if fault == "differs":
            repaired = self.command == "POST"
            unknown = "a node of which the journal knows nothing"
            differences = [
                dict(key="foo", journal=3, store=2, found=None, repaired=repaired),
                dict(key="gone", journal=None, store=1, found=unknown, repaired=False,
                     failure="it stays" if repaired else None),
                dict(key="new", journal=1, store=None, found=None, repaired=repaired)]
        self.json(dict(leader=True, keeper="zk://h:1/config/diary", differences=differences, checked=3,
                       differing=len(differences), repaired=sum(d["repaired"] for d in differences)))

    def misbehaves(self, method):
        ok = b"HTTP/1.1 200 OK\r\nX-Rainer-Version: 1\r\nX-Rainer-Key: foo\r\n"
        statuses = {"401": b"Unauthorized", "403": b"Forbidden: gian may not read diary", "404": b"Not found",
                    "413": b"Payload too large: 1048576 bytes is the most",
                    "422": b"line 3: \x1b[2Jno such port\nline 4: bad",
                    "503": b"Journal is not available: \x1b[2Jthe disk is full", "500": b"\xff\xfe"}
        if fault == "log-again" or method == "GET" and fault in ("422", "503", "lost-save"):
            return False
        if fault in statuses:
            self.reply(int(fault), statuses[fault])
        elif fault == "cut":
            self.raw(ok + b"Content-Length: 100\r\n\r\npart")
        elif fault == "cut-chunk":
            self.raw(ok + b"Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n")
        elif fault == "no-length":
            self.raw(b"HTTP/1.0 200 OK\r\nX-Rainer-Version: 1\r\n\r\npart")
        elif fault == "empty":
            self.raw(b"")
        elif fault == "page":
            self.reply(200, b"<html>log in</html>", "text/html")
        elif fault == "huge":
            self.raw(ok + b"Content-Length: 1048577\r\n\r\n" + bytes(1048577))
        elif fault == "endless":
            self.raw(ok + b"Transfer-Encoding: chunked\r\n\r\n")
            while True:
                try:
                    self.wfile.write(b"10000\r\n" + bytes(65536) + b"\r\n")
                except OSError:
                    return True
        elif fault == "slow":
            self.raw(ok + b"Content-Length: 100\r\n\r\n")
            for _ in range(60):
                try:
                    self.wfile.write(b"x")
                except OSError:
                    return True
                time.sleep(1)
        elif fault == "long-head":
            self.raw(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 1_000_000 + b"\r\n\r\n")
        elif fault == "redirect":
            self.reply(302, b"", more=[f"Location: {address()}/elsewhere"])
        elif fault == "bad-conflict" and method == "POST":
            self.reply(409, b"no JSON")
        else:
            return False
        return True


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def handle_error(self, *_):
        pass


if len(places) == 1:
    Server.address_family = socket.AF_UNIX
    server = Server(places[0], Handler)
else:
    server = Server(("127.0.0.1", 0), Handler)
if len(places) == 2:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*places)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)


def address():
    if len(places) == 1:
        return f"unix:{places[0]}:"
    return f"{'https' if places else 'http'}://127.0.0.1:{server.server_address[1]}"


print(address(), flush=True)
server.serve_forever()
