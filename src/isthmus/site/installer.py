"""Shell scripts that put generated files where a node wants them, and take them away again.

POSIX sh, because a node may have nothing else. Running one twice changes nothing the second time; `--dry-run`
says what it would do; `--undo` brings back what was there; `--root DIR` works on an image or a test's
directory. Not here: which files, and what a runtime does with them.
"""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from isthmus.site.output import OutputFile


@dataclass(frozen=True)
class Placed:
    """A file or directory beside the script (`source`), and where it goes on the node.

    `condition` is a shell command that must succeed first. One that is `only_new` never replaces a file of the
    node's own.
    """

    source: str
    target: str
    mode: str = "0644"
    condition: str = ""
    only_new: bool = False


def installer(
    directory: str,
    what: str,
    placed: Iterable[Placed],
    *,
    after: Iterable[str] = (),
) -> OutputFile:
    """`DIRECTORY/install.sh`. `after` are shell commands that make the runtime read its files again.

    They run only where something changed, and neither with --root nor with --no-restart.
    """
    lines = [_LIBRARY.replace("@WHAT@", what).replace("@NAME@", directory.replace("/", "-"))]
    lines.extend(map(_put, placed))
    restart = "\n".join(f"    {command}" for command in after) or "    :"
    lines.append(f"restart() {{\n{restart}\n}}\nfinish\n")
    return OutputFile(f"{directory}/install.sh", "".join(lines).encode())


def _put(item: Placed) -> str:
    verb = "put_new" if item.only_new else "put"
    line = f"{verb} {shlex.quote(item.source)} {shlex.quote(item.target)} {item.mode}\n"
    return f"if {item.condition}; then {line.strip()}; fi\n" if item.condition else line


_LIBRARY = r"""#!/bin/sh
# Installs @WHAT@ on this node.
# Written by `isthmus configure`; change isthmus.yaml and run it again.
set -eu

usage() {
    cat <<'END'
Usage: install.sh [--dry-run] [--undo] [--no-restart] [--root DIR]

Installs @WHAT@ on this node.
Run it as root. A second run changes nothing.

  --dry-run     say what would be done; change nothing
  --undo        bring back what was there before
  --no-restart  do not restart anything
  --root DIR    work below DIR instead of /
END
}

here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
root='' dry='' undo='' restart_wanted=yes changed=''
while [ $# -gt 0 ]; do
    case $1 in
        --dry-run) dry=yes ;;
        --undo) undo=yes ;;
        --no-restart) restart_wanted='' ;;
        --root) [ $# -ge 2 ] || { usage >&2; exit 2; }; root=${2%/}; restart_wanted=''; shift ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; exit 2 ;;
    esac
    shift
done
state=$root/var/lib/isthmus/installed/@NAME@

# What is remembered of a file: `new PATH` or `kept PATH` with the former content beside.
remember() {
    mkdir -p "$state/former"
    [ -e "$state/list" ] && grep -Fqx -e "new $1" -e "kept $1" "$state/list" && return 0
    if [ -e "$root$1" ]; then
        cp -p "$root$1" "$state/former/$(printf %s "$1" | tr / _)"
        echo "kept $1" >>"$state/list"
    else
        echo "new $1" >>"$state/list"
    fi
}

put_file() {
    if cmp -s "$1" "$root$2"; then return 0; fi
    changed=yes
    if [ -n "$dry" ]; then echo "would write $root$2"; return 0; fi
    remember "$2"
    mkdir -p "$(dirname "$root$2")"
    cp "$1" "$root$2.isthmus-new"
    chmod "$3" "$root$2.isthmus-new"
    mv -f "$root$2.isthmus-new" "$root$2"
    echo "wrote $root$2"
}

put() {
    [ -z "$undo" ] || return 0
    if [ -d "$here/$1" ]; then
        list=$(cd "$here/$1" && find . -type f | sort)
        for file in $list; do put_file "$here/$1/${file#./}" "$2/${file#./}" "$3"; done
    else
        put_file "$here/$1" "$2" "$3"
    fi
}

put_new() {
    if [ -e "$root$2" ] && ! grep -Fqxs "new $2" "$state/list"; then return 0; fi
    put "$@"
}

bring_back() {
    [ -e "$state/list" ] || { echo "nothing is installed"; return 0; }
    while read -r how path; do
        if [ -n "$dry" ]; then echo "would bring back $root$path"; continue; fi
        if [ "$how" = kept ]; then
            mkdir -p "$(dirname "$root$path")"
            mv -f "$state/former/$(printf %s "$path" | tr / _)" "$root$path"
        else
            rm -f "$root$path"
            rmdir -p "$(dirname "$root$path")" 2>/dev/null || :
        fi
        echo "brought back $root$path"
    done <"$state/list"
    changed=yes
    [ -n "$dry" ] || rm -rf "$state"
}

finish() {
    [ -z "$undo" ] || bring_back
    if [ -z "$changed" ]; then echo "nothing to do"; return 0; fi
    if [ -n "$restart_wanted" ] && [ -z "$dry" ]; then restart; fi
}

"""
