"""`isthmus completion`: print the shell completion script."""

import click
from click.shell_completion import get_completion_class


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> int:
    """Print a script that makes the shell complete isthmus commands.

    \b
    Examples:
      isthmus completion bash > ~/.local/share/bash-completion/completions/isthmus
      isthmus completion zsh > ~/.zfunc/_isthmus
    """
    kind = get_completion_class(shell)
    assert kind is not None
    root = ctx.find_root().command
    click.echo(kind(root, {}, "isthmus", "_ISTHMUS_COMPLETE").source())
    return 0
