import os
import signal
import socket
import sys

from flask import Flask
from markupsafe import escape

app = Flask(__name__)


@app.route("/")
def hello():
    name = escape(os.environ.get("NAME", "world"))
    return f"<h3>Hello {name}!</h3><b>Hostname:</b> {socket.gethostname()}<br/>"


def main():
    # The program is PID 1 of its container: the kernel delivers it only signals that it handles.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    app.run(host="0.0.0.0", port=80)
