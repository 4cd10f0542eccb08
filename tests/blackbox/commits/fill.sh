#!/bin/sh
# Saves 450 versions of the key `full` at the server $1.
python3 - "$1" <<'PYTHON'
import http.client, sys, urllib.parse
for version in range(1, 451):
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(sys.argv[1]).netloc)
    connection.request("POST", f"/diary/full/{version}", b"x", {"X-Rainer-Author": "a"})
    assert connection.getresponse().status == 200
PYTHON
