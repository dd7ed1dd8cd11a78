#!/usr/bin/env python3
"""Opens the gallery in a browser, which presses its buttons: the page's self-test, WebSockets included.

    examples/browser.py                      builds the gallery, and runs it on both servers
    examples/browser.py target/debug/gallery the same with a program that is built already

Needs Chromium (Debian: apt install chromium). Exits with 1 unless every button did what it should, on each server.
"""

import html
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading

SERVERS = ["evented", "threaded"]

# How long a browser may take to start and to test, in seconds: long enough for a machine with a lot to do.
PATIENCE = 120


def main():
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("There is no Chromium here: apt install chromium")
    gallery = sys.argv[1] if len(sys.argv) > 1 else build()
    outcomes = [test(browser, gallery, server) for server in SERVERS]
    sys.exit(0 if all(outcomes) else 1)


def build():
    """Builds the gallery, and returns its path."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    subprocess.run(["cargo", "build", "--release", "--package", "varvel-examples", "--bin", "gallery"], cwd=root, check=True)
    target = os.environ.get("CARGO_TARGET_DIR", "target")
    return os.path.join(root, target, "release", "gallery")


def test(browser, gallery, server):
    """Whether the page passes its self-test on this server."""
    command = [gallery, "--server", server, "--bind", "127.0.0.1:0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        try:
            page = open_page(browser, f"{address(running)}/?self-test")
        finally:
            running.terminate()
    report = re.search(r'<pre id="self-test"[^>]*>(.*?)</pre>', page, re.DOTALL)
    print(f"{server}: {html.unescape(report[1]) if report else 'the self-test did not run'}")
    return 'data-self-test="passed"' in page


def address(running):
    """Where the gallery listens, as it says when it starts."""
    for line in running.stderr:
        if match := re.search(r"listening on (http://[^,]+),", line):
            # Somebody must read on, or the gallery waits with what it has to say.
            threading.Thread(target=running.stderr.read, daemon=True).start()
            return match[1]
        print(line, end="", file=sys.stderr)
    sys.exit("The gallery does not listen.")


def open_page(browser, url):
    """What has become of a page when its browser considers it loaded."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-sync",
            "--disable-background-networking",
            "--disable-component-update",
            "--no-first-run",
            f"--user-data-dir={profile}",
            "--dump-dom",
        ]
        done = subprocess.run([browser, *options, url], capture_output=True, text=True, timeout=PATIENCE)
        return done.stdout


if __name__ == "__main__":
    main()
