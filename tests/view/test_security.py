"""Who may ask: hosts, origins, tokens and sizes, against the app itself without a network."""

import asyncio

import pytest

starlette = pytest.importorskip("starlette", reason="the extra [view] is not installed")

from starlette.responses import PlainTextResponse  # noqa: E402

from gendesign.view.security import LARGEST, Guard, TooLarge  # noqa: E402

TOKEN, PORT = "right-token", 8123


async def read_all(scope, receive, send):
    try:
        while (await receive()).get("more_body"):
            pass
    except TooLarge:
        await PlainTextResponse("too large", 413)(scope, receive, send)
        return
    await PlainTextResponse("inside")(scope, receive, send)


def answer(query=f"token={TOKEN}", remote=False, chunks=(b"",), **headers):
    """Status, headers and body of a request."""
    sent, waiting = [], list(chunks)
    headers = {"host": f"127.0.0.1:{PORT}", **{name.replace("_", "-"): text for name, text in headers.items()}}
    scope = {
        "type": "http", "method": "POST", "path": "/", "query_string": query.encode(),
        "headers": [(name.encode(), text.encode("latin-1")) for name, text in headers.items()],
    }  # fmt: skip

    async def receive():
        return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

    async def send(message):
        sent.append(message)

    asyncio.run(Guard(read_all, TOKEN, PORT, remote)(scope, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


def test_the_token_opens_in_the_query_a_header_or_the_cookie():
    status, headers, body = answer()
    assert (status, body) == (200, b"inside")
    cookie = headers[b"set-cookie"].decode()
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    assert answer(query="", cookie=cookie.split(";")[0])[0] == 200
    assert answer(query="", x_token=TOKEN)[0] == 200
    assert b"set-cookie" not in answer(query="", x_token=TOKEN)[1]
    assert b"default-src 'none'" in headers[b"content-security-policy"]


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("", {}),
        ("token=wrong", {}),
        ("token=", {}),
        ("token=r%C3%A9", {"cookie": f"gendesign_{PORT}=wrong"}),
        (f"token={TOKEN}", {"host": "evil.example:8123"}),
        (f"token={TOKEN}", {"host": "127.0.0.1"}),
        (f"token={TOKEN}", {"host": "127.0.0.1:9999"}),
        (f"token={TOKEN}", {"host": "192.168.1.5:8123"}),
        (f"token={TOKEN}", {"host": ""}),
        (f"token={TOKEN}", {"origin": "http://evil.example"}),
        (f"token={TOKEN}", {"origin": "null"}),
        (f"token={TOKEN}", {"origin": f"http://localhost:{PORT}"}),  # of another page than 127.0.0.1
    ],
)
def test_others_are_refused(query, headers):
    status, _, body = answer(query, **headers)
    assert status == 403 and b"inside" not in body


def test_own_origin_and_names_pass():
    assert answer(origin=f"http://127.0.0.1:{PORT}")[0] == 200
    assert answer(host=f"localhost:{PORT}")[0] == 200
    assert answer(host=f"192.168.1.5:{PORT}", remote=True)[0] == 200
    assert answer(host=f"evil.example:{PORT}", remote=True)[0] == 403


def test_large_bodies_are_refused_stated_or_not():
    assert answer(content_length=str(LARGEST + 1))[0] == 413
    assert answer(content_length="-5")[0] == 413
    assert answer(chunks=[b"x" * (LARGEST // 2)] * 3)[0] == 413
    assert answer(chunks=[b"x" * (LARGEST // 2)] * 2)[0] == 200


def test_cookies_of_other_servers_on_this_machine_do_no_harm():
    cookies = f'theme={{"dark": true}}; a b=1; gendesign_{PORT}={TOKEN}'
    assert answer(query="", cookie=cookies)[0] == 200
