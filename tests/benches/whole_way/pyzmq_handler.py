"""A Mongrel2 handler as people write it in Python: pyzmq and json, nothing else.

Usage: pyzmq_handler.py SEND_SPEC RECV_SPEC
"""

import json
import sys

import zmq


def parse_netstring(data):
    length, rest = data.split(b":", 1)
    length = int(length)
    return rest[:length], rest[length + 1 :]


class Request:
    def __init__(self, sender, conn_id, path, headers, body):
        self.sender = sender
        self.conn_id = conn_id
        self.path = path
        self.headers = headers
        self.body = body

    @classmethod
    def parse(cls, message):
        sender, conn_id, path, rest = message.split(b" ", 3)
        headers, rest = parse_netstring(rest)
        body, _ = parse_netstring(rest)
        return cls(sender, conn_id, path, json.loads(headers), body)

    def is_disconnect(self):
        return self.headers.get("METHOD") == "JSON" and json.loads(self.body).get("type") == "disconnect"


class Connection:
    def __init__(self, send_spec, recv_spec):
        context = zmq.Context()
        self.requests = context.socket(zmq.PULL)
        self.requests.connect(send_spec)
        self.replies = context.socket(zmq.PUB)
        self.replies.connect(recv_spec)

    def receive(self):
        return Request.parse(self.requests.recv())

    def reply(self, request, body, code=200, status="OK", headers=None):
        headers = headers or {}
        headers["Content-Length"] = len(body)
        lines = "\r\n".join(f"{name}: {value}" for name, value in headers.items())
        payload = f"HTTP/1.1 {code} {status}\r\n{lines}\r\n\r\n{body}".encode()
        target = b"%d:%s," % (len(request.conn_id), request.conn_id)
        self.replies.send(b" ".join([request.sender, target, payload]))


def main():
    connection = Connection(sys.argv[1], sys.argv[2])
    print("ready:", file=sys.stderr, flush=True)
    while True:
        request = connection.receive()
        if request.is_disconnect():
            continue
        connection.reply(request, request.headers.get("x-seq", ""), headers={"Content-Type": "text/plain"})


main()
