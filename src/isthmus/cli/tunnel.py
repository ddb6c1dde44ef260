"""`isthmus tunnel`: reach the site by a browser or a command, through a SOCKS proxy over SSH."""

import base64
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import click

from isthmus.carry.ssh.address import parse_address
from isthmus.carry.ssh.link import Options
from isthmus.carry.ssh.tunnel import Tunnel, open_tunnel, pac, parse_listen, write_pac
from isthmus.cli.command import Run, common_options
from isthmus.cli.ssh_options import ssh_options
from isthmus.errors import UsageError

_CHROMES = ("chromium", "google-chrome", "chromium-browser", "google-chrome-stable", "microsoft-edge")
_NO_SUCH_COMMAND = 127


class _WithCommand(click.Command):
    """Everything behind --exec is another program's command line, its options too."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does, with what is before --exec."""
        if "--exec" in args:
            place = args.index("--exec")
            ctx.meta["isthmus.exec"] = args[place + 1 :][1 if args[place + 1 : place + 2] == ["--"] else 0 :]
            if not ctx.meta["isthmus.exec"]:
                raise UsageError("wrong-usage", "--exec needs a command behind it")
            args = args[:place]
        return super().parse_args(ctx, args)


@click.command("tunnel", cls=_WithCommand)
@click.argument("target", metavar="ssh://[USER@]HOST[:PORT]")
@click.option(
    "--socks",
    default="127.0.0.1:1080",
    show_default=True,
    metavar="H:P",
    help="Where the proxy listens; port 0: any.",
)
@click.option("--pac", "pac_file", type=click.Path(path_type=Path), help="Write a PAC file for browsers.")
@click.option(
    "--domain",
    "domains",
    multiple=True,
    help="What a browser reaches through the tunnel.  [default: site.domain of isthmus.yaml]",
)
@click.option("--browser", is_flag=True, help="Start a browser with a profile of its own that uses the tunnel.")
@click.option("--exec", "_", is_flag=True, help="Run the rest of the line as a command that uses the tunnel.")
@ssh_options
@common_options
@click.pass_context
def command(
    context: click.Context,
    run: Run,
    target: str,
    socks: str,
    pac_file: Path | None,
    domains: tuple[str, ...],
    browser: bool,
    _: bool,
    ssh: Options,
) -> int:
    """Open a SOCKS 5 proxy over SSH and keep it until Ctrl-C, or until the command behind --exec ends.

    The PAC file leads a browser through the tunnel for the site's domains only. A command gets ALL_PROXY,
    HTTPS_PROXY and HTTP_PROXY, and its exit status is ours. Names are resolved on the far side.

    \b
    Examples:
      isthmus tunnel ssh://admin@gate.site.example --pac site.pac --browser
      isthmus tunnel ssh://admin@gate.site.example --domain site.internal --pac site.pac
      isthmus tunnel ssh://admin@gate --exec isthmus push --to registry.site.internal
    """
    address = parse_address(target, needs_directory=False)
    words: list[str] = context.meta.get("isthmus.exec", [])
    config = run.config()
    site = [config.site.domain] if config and config.site and config.site.domain else []
    names = list(domains) or site
    if (pac_file or browser) and not names:
        raise UsageError(
            "wrong-usage", "for which domain?", hint="give --domain, or set site.domain in isthmus.yaml"
        )
    with open_tunnel(address, ssh, parse_listen(socks)) as tunnel:
        if pac_file:
            write_pac(pac_file, names, tunnel)
        if words:
            return _run(words, tunnel)
        document = {"proxy": tunnel.url, "pac": str(pac_file) if pac_file else None, "domains": names}
        run.emit(document, "\n".join(_how(tunnel, pac_file, names)))
        try:
            if browser:
                return _browse(names, tunnel)
            tunnel.wait()
        except KeyboardInterrupt:
            run.note("the tunnel is closed")
    return 0


def _how(tunnel: Tunnel, pac_file: Path | None, names: list[str]) -> list[str]:
    lines = [f"the tunnel is open: {tunnel.url}; Ctrl-C closes it"]
    if pac_file:
        lines.append(
            f"browser:  automatic proxy configuration {pac_file.absolute().as_uri()}  ({', '.join(names)})"
        )
    shown = tunnel.url.removeprefix("socks5h://")
    return [
        *lines,
        f"curl:     curl --socks5-hostname {shown} https://…",
        f"commands: ALL_PROXY={tunnel.url} isthmus push …",
    ]


def _run(words: list[str], tunnel: Tunnel) -> int:
    """Run a command; when the tunnel ends first, its own errors say so."""
    try:
        process = subprocess.Popen(words, env={**os.environ, **tunnel.environment})
    except OSError as error:
        raise UsageError("file-not-found", error.strerror or "it cannot be run", where=words[0]) from error
    try:
        status = process.wait()
    except KeyboardInterrupt:
        status = process.wait()  # it got the Ctrl-C too
    return status if status >= 0 else 128 - status


def _browse(names: list[str], tunnel: Tunnel) -> int:
    """A browser with a fresh profile, until it is closed."""
    profile = tempfile.mkdtemp(prefix="isthmus-browser-")
    script = pac(names, tunnel.host, tunnel.port)
    url = "data:application/x-ns-proxy-autoconfig;base64," + base64.b64encode(script.encode()).decode()
    try:
        chrome = next((found for name in _CHROMES if (found := shutil.which(name))), None)
        if chrome:
            words = [chrome, f"--user-data-dir={profile}", "--no-first-run", f"--proxy-pac-url={url}"]
        elif firefox := shutil.which("firefox"):
            text = f'user_pref("network.proxy.type", 2);\nuser_pref("network.proxy.autoconfig_url", "{url}");\n'
            remote = 'user_pref("network.proxy.socks_remote_dns", true);\n'
            Path(profile, "user.js").write_text(text + remote, "utf-8")
            words = [firefox, "--no-remote", "--profile", profile]
        else:
            raise UsageError("file-not-found", "there is no Chromium, Chrome or Firefox here", hint="use --pac")
        process = subprocess.Popen([*words, f"https://{names[0]}/"], stdin=subprocess.DEVNULL)
        try:
            process.wait()
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    finally:
        shutil.rmtree(profile, ignore_errors=True)
    return 0
