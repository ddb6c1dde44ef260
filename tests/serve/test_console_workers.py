"""The console of a server that has several processes: a session holds in all of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.serve.conftest import Answer, fill
from tests.serve.test_access import USERS
from tests.serve.test_console_login import Browser, token_of
from tests.serve.test_workers import serve


def test_a_session_holds_in_every_worker_and_ends_in_every_worker(tmp_path: Path) -> None:
    fill(tmp_path / "store")
    (tmp_path / "users").write_text(USERS)
    with serve(tmp_path / "store", "--workers", "3", "--auth", str(tmp_path / "users")) as running:
        jar: dict[str, str] = {}

        def ask(do: Callable[[Browser], Answer]) -> Answer:
            """By a new connection, which the kernel gives to any of them."""
            browser = Browser(running.address)
            browser.jar = jar
            try:
                return do(browser)
            finally:
                browser.close()

        token = token_of(ask(lambda browser: browser.get("/console/login")).body.decode())
        fields: dict[str, Any] = {"token": token, "name": "admin", "password": "secret", "next": "/console/"}
        assert ask(lambda browser: browser.submit("/console/login", **fields)).status == 303
        pages = [ask(lambda browser: browser.get("/console/")) for _ in range(12)]
        assert {page.status for page in pages} == {200}
        kept = dict(jar)
        token = token_of(pages[0].body.decode())
        assert ask(lambda browser: browser.submit("/console/logout", token=token)).status == 303
        jar.update(kept)
        assert {ask(lambda browser: browser.get("/console/")).status for _ in range(12)} == {303}
