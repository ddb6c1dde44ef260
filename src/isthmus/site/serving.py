"""`serve/`: systemd units that run `isthmus serve` as a service of the site, with as few rights as it needs.

systemd.exec(5), "Sandboxing". Not here: the server itself.
"""

from isthmus.site.addresses import host_and_port
from isthmus.site.output import OutputFile
from isthmus.site.plan import Part, Site
from isthmus.site.text import heading

_HARDENING = """\
DynamicUser=yes
User=isthmus
StateDirectory=isthmus
WorkingDirectory=%S/isthmus
UMask=0027
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
AmbientCapabilities=CAP_NET_BIND_SERVICE
LockPersonality=yes
MemoryDenyWriteExecute=yes
NoNewPrivileges=yes
PrivateDevices=yes
PrivateTmp=yes
ProcSubset=pid
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProtectSystem=strict
RemoveIPC=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallFilter=setpriority
LimitNOFILE=65536
"""


def configure(site: Site) -> Part:
    """`serve/isthmus-serve.service`: store in /var/lib/isthmus/store, certificate as credentials of systemd."""
    _, port = host_and_port(site.registry)
    words = ["--store", "%S/isthmus/store", "--listen", f"[::]:{port}"]
    credentials = ""
    if not site.is_plain:
        words += ["--tls-cert", "%d/tls.crt", "--tls-key", "%d/tls.key"]
        credentials = "LoadCredential=tls.crt:/etc/isthmus/tls.crt\nLoadCredential=tls.key:/etc/isthmus/tls.key\n"
    if site.config.site.files.host:
        plain = "http://" if site.config.site.files.scheme == "http" else ""
        words += ["--files", f"{plain}[::]:{site.config.site.files.port}"]
    unit = (
        heading(
            "The site's registry and file server. Put tls.crt and tls.key (isthmus pki issue) into /etc/isthmus,",
            "a store into /var/lib/isthmus/store, this file into /etc/systemd/system; then",
            "systemctl enable --now isthmus-serve.",
        )
        + "[Unit]\nDescription=Isthmus: registry and files of this site\nAfter=network-online.target\n"
        + "Wants=network-online.target\n\n[Service]\nType=exec\n"
        + f"ExecStart=/usr/bin/env isthmus serve {' '.join(words)}\n"
        + "Environment=PATH=/opt/isthmus/bin:/usr/local/bin:/usr/bin:/bin\nRestart=on-failure\nRestartSec=2\n"
        + credentials
        + _HARDENING
        + "\n[Install]\nWantedBy=multi-user.target\n"
    )
    return Part((OutputFile("serve/isthmus-serve.service", unit.encode()),))
