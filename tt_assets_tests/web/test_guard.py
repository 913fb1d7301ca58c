"""What a foreign page, a foreign name or a stranger can do: everything to Dagster's own webserver, nothing to ours."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tt_assets.web.credentials import ONCE, Credentials, OnceCode
from tt_assets.web.hosts import Hosts, is_loopback, same_place
from tt_assets_tests.web.listening import ASSET, POOL, Listening, listening

MUTATION = f'mutation {{ setConcurrencyLimit(concurrencyKey: "{POOL}", limit: LIMIT) }}'
BODY = json.dumps({"query": MUTATION})
FOREIGN = "Origin: https://evil.example\nSec-Fetch-Site: cross-site\n"
HOME = "Host: HOST\nConnection: close\n"
SOCKET = (
    "Upgrade: websocket\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n"
    "Sec-WebSocket-Protocol: graphql-ws\n"
)
REPORT = f"/report_asset_materialization/{ASSET}"

CHANGES = {
    "an image of a foreign page": f"GET /graphql?query={quote(MUTATION)} HTTP/1.1\n{HOME}"
    "Sec-Fetch-Site: cross-site\nSec-Fetch-Mode: no-cors\n\n",
    "a link on a foreign page": f"GET /graphql?query={quote(MUTATION)} HTTP/1.1\n{HOME}"
    "Sec-Fetch-Site: cross-site\nSec-Fetch-Mode: navigate\n\n",
    "a browser without fetch metadata": f"GET /graphql?query={quote(MUTATION)} HTTP/1.1\n{HOME}\n",
    "a path that ends with a line": f"GET /graphql%0A?query={quote(MUTATION)} HTTP/1.1\n{HOME}\n",
    "a form with the query in the address": f"POST /graphql?query={quote(MUTATION)} HTTP/1.1\n{HOME}{FOREIGN}"
    "Content-Type: text/plain\n\nx=1",
    "a form in the ordinary encoding": f"POST /graphql?query={quote(MUTATION)} HTTP/1.1\n{HOME}{FOREIGN}"
    "Content-Type: application/x-www-form-urlencoded\n\nx=1",
    "a form of an old browser": f"POST /graphql?query={quote(MUTATION)} HTTP/1.1\n{HOME}"
    "Content-Type: text/plain\n\nx=1",
    "a post without a kind": f"POST /graphql?query={quote(MUTATION)} HTTP/1.1\n{HOME}\nx=1",
    "JSON with a query in the address too": f"POST /graphql?query={quote(MUTATION)} HTTP/1.1\n{HOME}"
    f"Content-Type: text/json\n\n{BODY}",
    "text that says JSON behind a semicolon": f"POST /graphql HTTP/1.1\n{HOME}{FOREIGN}"
    f"Content-Type: text/plain; application/json\n\n{BODY}",
    "the same without an origin": f"POST /graphql HTTP/1.1\n{HOME}Content-Type: text/plain; application/json\n\n{BODY}",
    "plain GraphQL": f"POST /graphql HTTP/1.1\n{HOME}Content-Type: application/graphql\n\n{MUTATION}",
    "JSON of a foreign page": f"POST /graphql HTTP/1.1\n{HOME}{FOREIGN}Content-Type: application/json\n\n{BODY}",
    "JSON of an origin that hides itself": f"POST /graphql HTTP/1.1\n{HOME}Origin: null\n"
    f"Content-Type: application/json\n\n{BODY}",
    "JSON of another port of this host": f"POST /graphql HTTP/1.1\n{HOME}Origin: http://127.0.0.1:1\n"
    f"Sec-Fetch-Site: same-site\nContent-Type: application/json\n\n{BODY}",
    "an origin that begins like ours": f"POST /graphql HTTP/1.1\n{HOME}Origin: http://HOST.evil.example\n"
    f"Content-Type: application/json\n\n{BODY}",
    "an origin with our name before an @": f"POST /graphql HTTP/1.1\n{HOME}Origin: http://HOST@evil.example\n"
    f"Content-Type: application/json\n\n{BODY}",
    "two origins": f"POST /graphql HTTP/1.1\n{HOME}Origin: http://HOST\nOrigin: https://evil.example\n"
    f"Content-Type: application/json\n\n{BODY}",
    "a foreign site without an origin": f"POST /graphql HTTP/1.1\n{HOME}Sec-Fetch-Site: cross-site\n"
    f"Content-Type: application/json\n\n{BODY}",
    "a name that resolves to us": "POST /graphql HTTP/1.1\nHost: evil.example:PORT\nConnection: close\n"
    f"Origin: http://evil.example:PORT\nSec-Fetch-Site: same-origin\nContent-Type: application/json\n\n{BODY}",
    "a name that begins like ours": "POST /graphql HTTP/1.1\nHost: localhost.evil.example\nConnection: close\n"
    f"Content-Type: application/json\n\n{BODY}",
    "two names": f"POST /graphql HTTP/1.1\n{HOME}Host: evil.example\nContent-Type: application/json\n\n{BODY}",
    "no name": f"POST /graphql HTTP/1.0\nContent-Type: application/json\nConnection: close\n\n{BODY}",
    "a materialization by a foreign page": f"POST {REPORT}?description=LIMIT HTTP/1.1\n{HOME}{FOREIGN}\n",
    "a materialization under a foreign name": f"POST {REPORT}?description=LIMIT HTTP/1.1\nHost: evil.example\n"
    "Connection: close\n\n",
}
"""Requests that change something on a server without a guard."""

READS = {
    "a socket of a foreign page": f"GET /graphql HTTP/1.1\nHost: HOST\nConnection: Upgrade\n{SOCKET}{FOREIGN}\n",
    "a socket of a hidden origin": f"GET /graphql HTTP/1.1\nHost: HOST\nConnection: Upgrade\n{SOCKET}Origin: null\n\n",
    "a socket under a foreign name": f"GET /graphql HTTP/1.1\nHost: evil.example\nConnection: Upgrade\n{SOCKET}\n",
    "a page under a foreign name": "GET / HTTP/1.1\nHost: evil.example\nConnection: close\nAccept: text/html\n\n",
    "versions under a foreign name": "GET /server_info HTTP/1.1\nHost: evil.example\nConnection: close\n\n",
    "a script of ours on a foreign page": f"GET /server_info HTTP/1.1\n{HOME}Sec-Fetch-Site: cross-site\n"
    "Sec-Fetch-Mode: no-cors\n\n",
}
"""Requests that a server without a guard answers with what a stranger should not have."""


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    with listening(tmp_path_factory.mktemp("twin"), guard=False) as server:
        yield server


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    with listening(tmp_path_factory.mktemp("ours"), guard=True) as server:
        yield server


def to(server: Listening, request: str, limit: int = 7) -> str:
    return request.replace("HOST", server.host).replace("PORT", str(server.port)).replace("LIMIT", str(limit))


@pytest.mark.parametrize(("limit", "attack"), enumerate(CHANGES.values(), start=1), ids=CHANGES.keys())
def test_what_changes_a_server_without_a_guard_changes_nothing_here(
    twin: Listening, ours: Listening, limit: int, attack: str
) -> None:
    before, before_ours = twin.state(), ours.state()
    twin.send(to(twin, attack, limit))
    assert twin.state() != before, "the attack is none: the server without a guard withstands it"
    answer = ours.send(to(ours, attack, limit))
    assert ours.state() == before_ours
    assert answer.status in (403, 405, 415, 421), answer


@pytest.mark.parametrize("attack", READS.values(), ids=READS.keys())
def test_what_a_server_without_a_guard_gives_to_strangers_is_refused_here(
    twin: Listening, ours: Listening, attack: str
) -> None:
    assert twin.send(to(twin, attack)).status in (101, 200)
    answer = ours.send(to(ours, attack))
    assert answer.status in (403, 421)
    assert "dagster" not in answer.body.lower()


def test_its_own_pages_programs_and_known_names_are_served(ours: Listening) -> None:
    before = ours.state()
    assert ours.ask(MUTATION.replace("LIMIT", "31"))["setConcurrencyLimit"]
    assert ours.state() != before
    program = f"POST /graphql HTTP/1.1\n{HOME}Content-Type: application/json\n\n" + BODY
    assert ours.send(to(ours, program, 32)).status == 200
    proxied = (
        "POST /graphql HTTP/1.1\nHost: tt.example.com\nConnection: close\nOrigin: https://tt.example.com\n"
        f"Sec-Fetch-Site: same-origin\nContent-Type: application/json\n\n{BODY}"
    )
    # Behind a proxy the page is https and its port the usual one; here neither is known.
    assert ours.send(to(ours, proxied, 33)).status == 200
    assert ours.state()[0] == 33
    upgrade = f"GET /graphql HTTP/1.1\nHost: HOST\nConnection: Upgrade\nOrigin: http://HOST\n{SOCKET}\n"
    assert ours.send(to(ours, upgrade)).status == 101
    for name in ("localhost:1", "LOCALHOST", "[::1]:3000", "127.0.0.1."):
        assert ours.send(f"GET /server_info HTTP/1.1\nHost: {name}\nConnection: close\n\n").status == 200


def test_pages_have_a_policy_and_workers_have_none(ours: Listening) -> None:
    page = ours.send(to(ours, f"GET / HTTP/1.1\n{HOME}Accept: text/html\n\n"))
    graphiql = ours.send(to(ours, f"GET /graphql HTTP/1.1\n{HOME}Accept: text/html\n\n"))
    refused = ours.send(to(ours, f"GET /graphql HTTP/1.1\n{HOME}\n"))
    (script, *_) = re.findall(r'/_next/[^"]+\.js', page.body)
    worker = ours.send(to(ours, f"GET {script} HTTP/1.1\n{HOME}\n"))
    assert (page.status, graphiql.status, refused.status, worker.status) == (200, 200, 405, 200)
    for answer in (page, graphiql):
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert "content-security-policy" not in worker.headers
    for answer in (page, graphiql, refused, worker):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert "camera=()" in answer.headers["permissions-policy"]
        assert "feature-policy" not in answer.headers


def test_a_server_that_only_shows_refuses_what_changes_it(tmp_path: Path) -> None:
    with listening(tmp_path, guard=True, read_only=True) as server:
        before = server.state()
        body = json.dumps({"query": MUTATION.replace("LIMIT", "5")})
        server.send(to(server, f"POST /graphql HTTP/1.1\n{HOME}Content-Type: application/json\n\n{body}"))
        server.send(to(server, f"POST {REPORT} HTTP/1.1\n{HOME}Content-Type: application/json\n\n{{}}"))
        assert server.state() == before
        assert server.ask("{version}")["version"]


TOKEN = "correct horse battery staple"


def basic(password: str) -> str:
    return "Authorization: Basic " + base64.b64encode(f"anybody:{password}".encode()).decode() + "\n"


def test_with_a_token_only_who_shows_it_gets_in(tmp_path: Path) -> None:
    once = OnceCode(tmp_path / "code")
    with listening(tmp_path, guard=True, credentials=Credentials(TOKEN, 3000, once)) as server:

        def get(path: str, more: str = "") -> tuple[int, dict[str, str]]:
            answer = server.send(to(server, f"GET {path} HTTP/1.1\n{HOME}{more}\n"))
            return answer.status, dict(answer.headers)

        status, headers = get("/server_info")
        assert (status, headers["www-authenticate"].split()[0]) == (401, "Basic")
        wrong = ["Authorization: Bearer wrong", "Authorization: Basic §", "Authorization: Bearer", "Cookie: x=y"]
        wrong += ["Cookie: tt_ui_3000=99999999999.0", "Cookie: tt_ui_3000=;;;"]
        wrong = [f"{line}\n" for line in wrong] + [basic("wrong"), basic("")]
        for shown in wrong:
            assert get("/server_info", shown)[0] == 401, shown
        assert get("/server_info", f"Authorization: Bearer {TOKEN}\n")[0] == 200
        status, headers = get("/server_info", basic(TOKEN))
        cookie = headers["set-cookie"]
        assert status == 200
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert TOKEN not in cookie
        assert get("/server_info", f"Cookie: {cookie.split(';')[0]}\n")[0] == 200
        ends, signature = cookie.split(";")[0].removeprefix("tt_ui_3000=").split(".")
        assert get("/server_info", f"Cookie: tt_ui_3000={int(ends) + 1}.{signature}\n")[0] == 401

        upgrade = f"GET /graphql HTTP/1.1\nHost: HOST\nConnection: Upgrade\nOrigin: http://HOST\n{SOCKET}"
        assert server.send(to(server, upgrade + "\n")).status == 403
        assert server.send(to(server, f"{upgrade}Cookie: {cookie.split(';')[0]}\n\n")).status == 101

        code = once.new()
        assert code not in (tmp_path / "code").read_text()
        assert get(f"{ONCE}?code=wrong")[0] == 403
        status, headers = get(f"{ONCE}?code={code}")
        assert (status, headers["location"]) == (303, "/tt")
        assert get("/server_info", f"Cookie: {headers['set-cookie'].split(';')[0]}\n")[0] == 200
        assert get(f"{ONCE}?code={code}")[0] == 403


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("localhost", True), ("127.0.0.1:3000", True), ("[::1]:3000", True), ("Box.lan", True), ("box.lan:80", True),
        ("tt.example.com:8443", True), ("tt.example.com", False), ("tt.example.com:80", False), ("", False),
        ("evil.example", False), ("localhost:", False), ("localhost:99999", False), ("localhost:3000:1", False),
        ("localhost/evil", False), ("box.lan@evil", False), ("[::1", False), ("::1", False), ("x[::1]", False),
        ("localhost:٣", False), ("localhost, evil", False),
    ],
)  # fmt: skip
def test_a_name_counts_when_it_is_known(host: str, known: bool) -> None:
    assert (host in Hosts.of("box.lan", ["tt.example.com:8443"])) is known


def test_a_wildcard_knows_the_machines_own_addresses() -> None:
    import psutil

    addresses = {
        entry.address for of in psutil.net_if_addrs().values() for entry in of if entry.family.name == "AF_INET"
    }
    for address in addresses:
        assert address in Hosts.of("0.0.0.0")
    assert "203.0.113.7" not in Hosts.of("0.0.0.0")


def test_a_page_is_of_the_same_place_with_the_same_name_and_port() -> None:
    assert same_place("http://a.example:3000", "a.example:3000")
    assert same_place("https://a.example", "a.example")
    assert same_place("https://a.example", "a.example:443")
    for origin in ("http://a.example", "http://a.example:3001", "http://b.example:3000", "null", "", "file://",
                   "http://a.example:3000/", "ftp://a.example:3000"):  # fmt: skip
        assert not same_place(origin, "a.example:3000"), origin


def test_only_a_loopback_address_needs_no_token() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "localhost", "::1", "127.8.8.8")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.5", "box.lan", "")))
