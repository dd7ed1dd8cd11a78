"""The probe routes of conformance/suite/ROUTES.md for WSGI servers.

    gunicorn --bind 127.0.0.1:8000 --chdir conformance/cli/probes wsgi:application
    varvel-conformance run --url http://127.0.0.1:8000

WSGI hands over fields as variables: names in one case, lines of one name joined. Path and query are decoded, trailers
dropped. What it cannot tell is not in the description, and is not judged.
"""

import hashlib
import json
import time


def application(environ, start_response):
    route, _, argument = environ["PATH_INFO"].lstrip("/").partition("/")
    if environ["REQUEST_METHOD"] == "CONNECT":
        # 2xx would promise a tunnel.
        return respond_with_description(environ, start_response, 405)
    if route == "echo":
        start_response("200 OK", [])
        return iter(lambda: environ["wsgi.input"].read(4096), b"")
    if route == "noread":
        return respond(start_response, 200, b"noread\n")
    if route in ("status", "nobody") and argument.isdigit():
        status = int(argument)
        if not 100 <= status <= 999:
            return respond(start_response, 400, b"that is no status\n")
        bodiless = status < 200 or status in (204, 304)
        if bodiless and route == "status":
            return respond(start_response, status)
        return respond(start_response, status, b"status %d\n" % status)
    if route == "stream" and argument.isdigit():
        start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
        return (b"chunk %d\n" % nth for nth in range(int(argument)))
    if route == "length-short":
        return respond(start_response, 200, b"short", length=10)
    if route == "length-long":
        return respond(start_response, 200, b"longer than ten", length=10)
    if route == "inject":
        start_response("200 OK", [("X-Inject", "a\r\nInjected: yes"), ("Content-Length", "0")])
        return []
    if route == "panic":
        raise RuntimeError("as the request asked")
    if route == "slow" and argument.isdigit():
        time.sleep(int(argument) / 1000)
    return respond_with_description(environ, start_response, 200)


def respond_with_description(environ, start_response, status):
    description = json.dumps(describe(environ)).encode()
    return respond(start_response, status, description, content_type="application/json")


def describe(environ):
    body = environ["wsgi.input"].read()
    headers = [
        [name[5:].replace("_", "-").lower(), value]
        for name, value in environ.items()
        if name.startswith("HTTP_")
    ]
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(name):
            headers.append([name.replace("_", "-").lower(), environ[name]])
    description = {
        "method": environ["REQUEST_METHOD"],
        "version": environ["SERVER_PROTOCOL"].removeprefix("HTTP/"),
        "headers": headers,
        "body_len": len(body),
        "body_sha256": hashlib.sha256(body).hexdigest(),
    }
    # Not of WSGI; gunicorn and others have it.
    target = environ.get("RAW_URI") or environ.get("REQUEST_URI")
    return description | ({"target": target} if target else {})


def respond(start_response, status, body=None, length=None, content_type="text/plain; charset=utf-8"):
    headers = []
    if body is not None:
        headers = [("Content-Type", content_type), ("Content-Length", str(length or len(body)))]
    start_response(f"{status} Status", headers)
    return [] if body is None else [body]
