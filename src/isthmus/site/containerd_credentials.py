"""The script that gives a node's containerd the user of a registry that does not let everybody read.

hosts.toml's `header` is understood by containerd 1.5 to 2.x alike; `registry.configs.*.auth` of the CRI plugin
was deprecated in 1.x and does not go with `config_path`. The password is put in on the node, by who has it, and
is in no generated file. Not here: hosts.toml itself.
"""

from isthmus.site.output import OutputFile
from isthmus.site.text import HEADING

_SCRIPT = """#!/bin/sh
# Puts the registry's user and password into every hosts.toml that install.sh has installed.
# @HEADING@
set -eu

usage() {
    cat <<'END'
Usage: credentials.sh [--root DIR] FILE
       credentials.sh [--root DIR] --remove

FILE holds user:password in one line; it can be - for standard input.
Run it as root after install.sh, and again after each install.sh that changed a hosts.toml.
END
}

root=''
if [ "${1:-}" = --root ] && [ $# -ge 2 ]; then root=${2%/}; shift 2; fi
case ${1:-} in
    '' | -h | --help) usage >&2; exit 2 ;;
    --remove) secret='' ;;
    *) secret=$(head -n 1 "$1" | tr -d '\\r\\n' | base64 | tr -d '\\n')
       [ -n "$secret" ] || { echo "$1 is empty" >&2; exit 2; } ;;
esac
umask 077
begin='# credentials.sh: begin'
for file in "$root"/etc/containerd/certs.d/*/hosts.toml; do
    grep -q 'Written by `isthmus configure`' "$file" || continue
    sed "/^$begin\\$/,\\$d" "$file" >"$file.isthmus-new"
    if [ -n "$secret" ]; then
        {
            echo "$begin"
            # The server is asked as well, so that a miss is its own answer and not a refusal.
            printf '[header]\\n  Authorization = "Basic %s"\\n' "$secret"
            sed -n 's/^\\[host\\.\\(".*"\\)\\]$/[host.\\1.header]/p' "$file" | while IFS= read -r table; do
                printf '%s\\n  Authorization = "Basic %s"\\n' "$table" "$secret"
            done
        } >>"$file.isthmus-new"
    else
        chmod 0644 "$file.isthmus-new"
    fi
    mv -f "$file.isthmus-new" "$file"
    echo "changed $file"
done
"""


def credentials_script() -> OutputFile:
    """`containerd/credentials.sh`."""
    return OutputFile("containerd/credentials.sh", _SCRIPT.replace("@HEADING@", HEADING).encode())
