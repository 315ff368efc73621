"""The demo's page on the wire: who may use it, what it passes on, and how a policy is saved through it."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from guards.registry import Guard
from policies.loader import load_policy, parse_policy
from server.app import create_app
from server.audit import Audit
from server.demo.playground import MAX_POLICY_BYTES, PAGE, Playground
from server.demo.questions import HERE
from server.demo.working_policy import WorkingPolicy
from server.metrics import Metrics
from server.pipeline import Gateway
from server.settings import Settings
from server.upstream import HttpUpstream
from tests.fake_gateway import listening
from tests.fake_upstream import DONE, FakeUpstream, Reply, Script, Step, say

KEY = b"k" * 32
JSON = {"Content-Type": "application/json"}
POLICY = """\
lethe: 1
name: small
targets:
  - id: odalys
    kind: entity
    names: [Odalys Vennaker]
    facts:
      - {relation: born in, values: [Port Meridane]}
  - id: other
    kind: entity
    names: [Yukari Tanabashi]
    facts:
      - {relation: lives in, values: [Port Meridane]}
"""
LEAK = "Odalys Vennaker was born in Port Meridane."
ASKED: dict[str, Any] = {
    "model": "m",
    "messages": [{"role": "user", "content": "Where was Odalys Vennaker born?"}],
}


@dataclass
class Demo:
    """A playground around a real gateway, and what is behind it."""

    client: aiohttp.ClientSession
    gateway: Gateway
    upstream: FakeUpstream
    policy: WorkingPolicy
    shipped: Path
    origin: str

    async def send(self, method: str, path: str, **more: Any) -> tuple[int, Any, Mapping[str, str]]:
        """Send a request as the page itself does, but for what `headers` say."""
        more["headers"] = {"Origin": self.origin, **more.get("headers", {})}
        async with self.client.request(method, path, **more) as response:
            body = await response.read()
            is_json = response.content_type == "application/json"
            return response.status, orjson.loads(body) if is_json else body, response.headers

    async def take_up(self) -> None:
        """Enforce what the working copy holds whenever it changes, as the gateway's watcher does."""
        while True:
            await asyncio.sleep(0.01)
            policy = await asyncio.to_thread(load_policy, self.policy.path)
            if policy.digest != self.gateway.policy.digest:
                self.gateway.guard = Guard(policy)


@asynccontextmanager
async def demo(folder: Path, script: Script = say(LEAK)) -> AsyncIterator[Demo]:
    shipped = folder / "shipped.yaml"
    shipped.write_text(POLICY, encoding="utf-8")
    (folder / "work").mkdir()
    working = WorkingPolicy(folder / "work", shipped)
    async with FakeUpstream(script) as upstream:
        database = folder / "audit.sqlite"
        audit = await asyncio.to_thread(Audit.open, database, folder)
        gateway = Gateway(Guard(parse_policy(POLICY)), HttpUpstream(upstream.url), audit, Metrics(), key=KEY)
        settings = Settings(policy=working.path, upstream=upstream.url, state=folder)
        app = Playground(create_app(settings, gateway=gateway), gateway, working, database, "m")
        try:
            async with listening(app) as (_, port):
                origin = f"http://127.0.0.1:{port}"
                async with aiohttp.ClientSession(origin) as client:
                    yield Demo(client, gateway, upstream, working, shipped, origin)
        finally:
            await gateway.close()


# -- the page ---------------------------------------------------------------------------------------------


async def test_every_file_of_the_page_is_served_under_a_strict_content_policy(tmp_path: Path) -> None:
    async with demo(tmp_path) as here:
        for path in ("/", *(f"/page/{name}" for name in PAGE)):
            status, body, headers = await here.send("GET", path)
            assert status == 200 and body
            policy = headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy and "http" not in policy
            assert headers["X-Content-Type-Options"] == "nosniff"


async def test_no_other_file_is_served(tmp_path: Path) -> None:
    async with demo(tmp_path) as here:
        for path in ("/page/", "/page/playground.py", "/page/..%2fplayground.py", "/page/%2e%2e/people.yaml"):
            assert (await here.send("GET", path))[0] == 404


def test_every_file_of_the_folder_is_part_of_the_page() -> None:
    assert {path.name for path in (HERE / "page").iterdir()} == set(PAGE)


def test_the_page_asks_nothing_of_any_other_server() -> None:
    for path in (HERE / "page").iterdir():
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "://" not in text and 'src="//' not in text


async def test_the_gateways_own_routes_are_untouched(tmp_path: Path) -> None:
    async with demo(tmp_path) as here:
        # Any client, any host name, no origin: whatever holds for the gateway alone.
        headers = {"Host": "lethe.example", "Origin": "http://elsewhere.example"}
        assert (await here.send("GET", "/healthz", headers=headers))[0] == 200
        assert (await here.send("GET", "/v1/models", headers=headers))[1]["object"] == "list"
        status, body, _ = await here.send("POST", "/v1/chat/completions", json=ASKED, headers=headers)
        assert status == 200 and "Port" not in orjson.dumps(body).decode()
        assert (await here.send("GET", "/demonstration", headers=headers))[1]["error"]["code"] == "not_found"


# -- who may use it ---------------------------------------------------------------------------------------

NOT_HERE = [
    {"Host": "lethe.example"},
    {"Host": "127.0.0.1.lethe.example"},
    {"Host": "lethe.example@127.0.0.1"},
    {"Host": "10.0.0.1"},
]
NOT_OURS = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
]
OTHER_ORIGINS = [
    {"Origin": "http://elsewhere.example"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "https://127.0.0.1"},
    {"Origin": "null"},
    {"Origin": ""},
]


@pytest.mark.parametrize("headers", NOT_HERE)
async def test_a_name_that_is_made_to_point_here_reaches_nothing(
    tmp_path: Path, headers: dict[str, str]
) -> None:
    async with demo(tmp_path) as here:
        for path in ("/", "/page/page.js", "/demo/policy", "/demo/config"):
            status, body, _ = await here.send("GET", path, headers=headers)
            assert status == 403 and "small" not in orjson.dumps(body).decode()


@pytest.mark.parametrize("headers", NOT_OURS)
async def test_another_sites_page_reads_nothing(tmp_path: Path, headers: dict[str, str]) -> None:
    async with demo(tmp_path) as here:
        for path in ("/page/page.js", "/demo/policy", "/demo/config", "/demo/state"):
            assert (await here.send("GET", path, headers=headers))[0] == 403


@pytest.mark.parametrize("headers", [*NOT_HERE, *NOT_OURS, *OTHER_ORIGINS])
async def test_another_sites_page_changes_and_asks_nothing(tmp_path: Path, headers: dict[str, str]) -> None:
    async with demo(tmp_path) as here:
        other = POLICY.replace("Odalys", "Ruben")
        for method, path, body in (
            ("PUT", "/demo/policy", {"text": other}),
            ("POST", "/demo/check", {"text": other}),
            ("POST", "/demo/alone", ASKED),
            ("POST", "/demo/findings", {"request": ASKED}),
        ):
            assert (await here.send(method, path, json=body, headers=headers))[0] == 403
        assert here.policy.path.read_text(encoding="utf-8") == POLICY and not here.upstream.requests


async def test_a_form_of_another_site_cannot_pretend_to_be_json(tmp_path: Path) -> None:
    async with demo(tmp_path) as here:
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
            headers = {"Content-Type": kind}
            text = orjson.dumps({"text": POLICY + "#"})
            assert (await here.send("PUT", "/demo/policy", data=text, headers=headers))[0] == 415
        assert here.policy.path.read_text(encoding="utf-8") == POLICY


async def test_the_page_may_be_opened_under_every_name_of_this_machine(tmp_path: Path) -> None:
    async with demo(tmp_path) as here:
        for host in ("localhost:8080", "127.0.0.1:8080", "[::1]:8080", "LOCALHOST"):
            assert (await here.send("GET", "/", headers={"Host": host}))[0] == 200


async def test_what_is_too_large_or_of_another_method_is_refused(tmp_path: Path) -> None:
    async with demo(tmp_path) as here:
        large = io.BytesIO(orjson.dumps({"text": "#" * MAX_POLICY_BYTES}))
        assert (await here.send("PUT", "/demo/policy", data=large, headers=JSON))[0] == 413
        assert (await here.send("DELETE", "/demo/policy"))[0] == 405
        assert (await here.send("PUT", "/demo/policy", json={"text": 1}))[0] == 400
        assert (await here.send("PUT", "/demo/policy", data=b"{", headers=JSON))[0] == 400
        assert here.policy.path.read_text(encoding="utf-8") == POLICY


# -- asking -----------------------------------------------------------------------------------------------


def piece(text: str, finish: str | None = None) -> dict[str, Any]:
    return {"id": "c", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}


async def test_what_the_model_alone_says_is_passed_on_while_it_speaks(tmp_path: Path) -> None:
    heard = asyncio.Event()
    steps: list[Step] = [piece("Odalys Vennaker "), heard, piece("was born in Port Meridane.", "stop"), DONE]
    async with demo(tmp_path, lambda body: Reply(steps)) as here:
        async with here.client.post("/demo/alone", json=ASKED, headers={"Origin": here.origin}) as answer:
            async with asyncio.timeout(60):
                first = await answer.content.readuntil(b"\n\n")
            # The model goes on only now: what came before was not kept back until the end.
            assert b"Odalys" in first
            heard.set()
            rest = await answer.content.read()
        assert b"Port Meridane" in rest and rest.endswith(DONE)


async def test_the_model_alone_gets_the_request_as_it_is(tmp_path: Path) -> None:
    async with demo(tmp_path) as here:
        asked = {**ASKED, "max_tokens": 4, "stop": ["."], "temperature": 0}
        assert (await here.send("POST", "/demo/alone", json=asked))[0] == 200
        (got,) = here.upstream.requests
        assert {name: got[name] for name in asked} == asked


async def test_an_upstream_that_fails_is_an_error_object(tmp_path: Path) -> None:
    async with demo(tmp_path, lambda body: Reply([], status=500)) as here:
        status, body, _ = await here.send("POST", "/demo/alone", json=ASKED)
        assert status == 502 and body["error"]["message"]


async def test_findings_say_what_was_found_where_and_what_the_answer_told(tmp_path: Path) -> None:
    async with demo(tmp_path) as here:
        asked = {"request": ASKED, "answer": LEAK}
        status, found, _ = await here.send("POST", "/demo/findings", json=asked)
        assert status == 200 and found["stance"] == "armed"
        assert found["targets"] == [{"id": "odalys", "kind": "entity", "style": "unknown", "stance": "armed"}]
        name = next(each for each in found["findings"] if each["part"] == "name")
        assert (name["target"], name["start"], name["end"]) == ("odalys", 10, 25)
        # Port Meridane is somebody else's city as well, whom the question has nothing to do with.
        told = {(LEAK[each["start"] : each["end"]], each["target"]) for each in found["told"]}
        assert {("Odalys Vennaker", "odalys"), ("Port Meridane", "odalys")} <= told
        assert {target for _, target in told} == {"odalys"}
        assert found["read_ms"] > 0


async def test_the_record_of_an_exchange_has_none_of_its_text(tmp_path: Path) -> None:
    async with demo(tmp_path) as here:
        _, answer, _ = await here.send("POST", "/v1/chat/completions", json=ASKED)
        status, body, _ = await here.send("GET", f"/demo/record?exchange={answer['id']}")
        assert status == 200 and [each["kind"] for each in body["records"]] == ["opened", "ended"]
        assert body["records"][0]["stance"] == "armed"
        words = orjson.dumps(body).decode()
        assert not any(word in words for word in ("Odalys", "Vennaker", "Meridane", "born"))


async def test_a_record_that_is_none_is_not_found(tmp_path: Path) -> None:
    async with demo(tmp_path) as here:
        for exchange in ("", "../x", "a" * 81):
            assert (await here.send("GET", "/demo/record", params={"exchange": exchange}))[0] == 404


# -- the policy -------------------------------------------------------------------------------------------


async def test_a_text_that_is_no_policy_is_refused_at_its_line_and_nothing_is_written(
    tmp_path: Path,
) -> None:
    async with demo(tmp_path) as here:
        wrong = POLICY.replace("kind: entity", "kind: entitty", 1)
        status, body, _ = await here.send("PUT", "/demo/policy", json={"text": wrong})
        assert status == 422 and body["more"] == 0
        (problem,) = body["problems"]
        assert problem["line"] == 5 and problem["column"] > 0
        assert "entitty" in problem["message"] and "entity" in problem["message"]
        assert here.policy.path.read_text(encoding="utf-8") == POLICY and here.gateway.policy.name == "small"


async def test_a_text_that_is_being_written_is_checked_and_nothing_comes_of_it(tmp_path: Path) -> None:
    async with demo(tmp_path) as here:
        other = POLICY.replace("Odalys", "Ruben")
        status, body, _ = await here.send("POST", "/demo/check", json={"text": other})
        assert (status, body) == (200, {"problems": [], "more": 0})
        status, body, _ = await here.send("POST", "/demo/check", json={"text": other + "colour: red\n"})
        assert status == 200 and body["problems"][0]["line"] == other.count("\n") + 1
        assert here.policy.path.read_text(encoding="utf-8") == POLICY


async def test_a_text_that_is_no_yaml_is_refused_at_its_line(tmp_path: Path) -> None:
    async with demo(tmp_path) as here:
        _, body, _ = await here.send("PUT", "/demo/policy", json={"text": POLICY + "  - [\n"})
        assert body["problems"][0]["line"] >= POLICY.count("\n")


async def test_a_saved_policy_is_in_force_when_the_answer_comes(tmp_path: Path) -> None:
    async with demo(tmp_path) as here:
        following = asyncio.create_task(here.take_up())
        try:
            text = POLICY.replace("Odalys Vennaker", "Ruben Vennaker")
            status, body, _ = await here.send("PUT", "/demo/policy", json={"text": text})
            assert status == 200 and body["state"] == "in force"
            assert body["digest"] == parse_policy(text).digest == here.gateway.policy.digest
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


async def test_the_file_it_was_copied_from_is_never_written(tmp_path: Path) -> None:
    async with demo(tmp_path) as here:
        following = asyncio.create_task(here.take_up())
        try:
            await here.send("PUT", "/demo/policy", json={"text": POLICY + "# mine\n"})
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        assert here.policy.path.read_text(encoding="utf-8").endswith("# mine\n")
        assert here.shipped.read_text(encoding="utf-8") == POLICY
        _, body, _ = await here.send("GET", "/demo/policy")
        assert body["shipped"] == POLICY and body["text"].endswith("# mine\n")


async def test_lethe_serve_has_no_page(tmp_path: Path) -> None:
    async with demo(tmp_path) as here:
        settings = Settings(policy=tmp_path / "p", upstream=here.upstream.url, state=tmp_path)
        async with listening(create_app(settings, gateway=here.gateway)) as (_, port):
            for path in ("/", "/page/page.js", "/demo/policy", "/demo/config"):
                async with here.client.get(f"http://127.0.0.1:{port}{path}") as answer:
                    assert answer.status == 404
