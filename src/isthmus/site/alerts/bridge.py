"""The bridge from Alertmanager's webhook to syslog, as a program of the standard library for the site.

It is written into the output as it is below: one file that any Python 3 runs. RFC 5424 (the message), RFC 6587
(octet counting over TCP). Not here: what Alertmanager is told about it.
"""

from isthmus.site.output import OutputFile
from isthmus.site.text import heading

UNIT = """\
[Unit]
Description=Alerts to syslog
After=network-online.target

[Service]
ExecStart=/usr/bin/python3 /opt/isthmus/syslog-bridge.py 0.0.0.0:9514
DynamicUser=yes
NoNewPrivileges=yes
PrivateDevices=yes
PrivateTmp=yes
ProtectHome=yes
ProtectSystem=strict
RestrictAddressFamilies=AF_INET AF_INET6
Restart=on-failure

[Install]
WantedBy=multi-user.target
"""

PROGRAM = '''\
"""Takes alerts from Alertmanager at http://HOST:PORT/SYSLOG_HOST/SYSLOG_PORT[/tcp] and sends each to syslog."""

import datetime
import http.server
import json
import socket
import sys

SEVERITIES = {"critical": 2, "error": 3, "warning": 4, "info": 6, "none": 7}
LOCAL0 = 16
LIMIT = 4 << 20


def message(alert):
    """One line of RFC 5424."""
    labels = alert.get("labels", {})
    resolved = alert.get("status") == "resolved"
    severity = 5 if resolved else SEVERITIES.get(labels.get("severity", ""), 4)
    words = [alert.get("status", "firing"), labels.get("alertname", "?")]
    words += [f"{key}={value}" for key, value in sorted(labels.items()) if key != "alertname"]
    notes = alert.get("annotations", {})
    words.append(notes.get("summary") or notes.get("description") or notes.get("message") or "")
    text = " ".join(" ".join(words).split())
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return f"<{LOCAL0 * 8 + severity}>1 {now} {socket.gethostname()} alertmanager - - - {text}".encode()


def send(host, port, over_tcp, lines):
    kind = socket.SOCK_STREAM if over_tcp else socket.SOCK_DGRAM
    family, _, _, _, address = socket.getaddrinfo(host, port, type=kind)[0]
    with socket.socket(family, kind) as out:
        out.settimeout(10)
        out.connect(address)
        for line in lines:
            out.sendall(b"%d %s" % (len(line), line) if over_tcp else line)


class Bridge(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        try:
            host, port, *rest = self.path.strip("/").split("/")
            size = int(self.headers["Content-Length"])
            if size > LIMIT:
                raise ValueError("too large")
            alerts = json.loads(self.rfile.read(size))["alerts"]
            lines = [message(alert) for alert in alerts]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self.send_error(400, str(error))
            return
        try:
            send(host, int(port), rest == ["tcp"], lines)
        except (OSError, ValueError) as error:
            self.send_error(502, str(error))  # Alertmanager tries again
            return
        self.send_response(204)
        self.end_headers()

    def log_message(self, *words):
        pass


if __name__ == "__main__":
    place = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:9514"
    host, _, port = place.rpartition(":")
    http.server.ThreadingHTTPServer((host, int(port)), Bridge).serve_forever()
'''


def bridge_files() -> tuple[OutputFile, ...]:
    """The program and its systemd unit."""
    how = "systemctl enable --now syslog-bridge, where site.alerts.bridge says: else beside the file server."
    return (
        OutputFile("alerts/syslog-bridge.py", f"#!/usr/bin/env python3\n{PROGRAM}".encode()),
        OutputFile("alerts/syslog-bridge.service", (heading(how) + UNIT).encode()),
    )
