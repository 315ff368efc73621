"""The demo's page in a real browser: the real model, the real gateway, all as `lethe demo` starts them.

With PICTURES=1 in the environment the pictures of the README are taken as well (`make pictures`).
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Route, expect, sync_playwright

from deploy.chromium import FLAGS, find
from policies.loader import load_policy
from server.demo.questions import load_people
from server.demo.stack import free_port
from server.demo.tour import POLICY

PICTURES = Path(__file__).resolve().parents[1] / "docs" / "pictures"
START_S = 300
"""The first start on a machine exports the encoder."""
PATIENCE_MS = 60_000
"""For a busy machine; nothing here waits so long on an idle one."""
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
SHIPPED = POLICY.read_bytes()
expect.set_options(timeout=PATIENCE_MS)


# -- what runs --------------------------------------------------------------------------------------------


@dataclass
class Demo:
    """A running `lethe demo`."""

    url: str
    said: Path

    def reset(self) -> None:
        """Put the shipped policy back in force where a test left another one."""
        with urllib.request.urlopen(f"{self.url}/demo/policy") as answer:
            now = json.load(answer)
        if now["text"] == now["shipped"] and now["state"] == "in force":
            return
        body = json.dumps({"text": now["shipped"]}).encode()
        headers = {"Content-Type": "application/json", "Origin": self.url}
        request = urllib.request.Request(f"{self.url}/demo/policy", body, headers, method="PUT")
        with urllib.request.urlopen(request) as answer:
            assert json.load(answer)["state"] in ("in force", "meaning pending")


def started(state: Path, said: Path, *options: str) -> subprocess.Popen[bytes]:
    """Start `lethe demo` in a session of its own, as a terminal would."""
    environment = {**os.environ, "XDG_STATE_HOME": str(state)}
    with said.open("wb") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "server.cli", "demo", *options],
            stdout=out,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )


def until(true: Callable[[], bool], process: subprocess.Popen[bytes], said: Path) -> None:
    deadline = time.monotonic() + START_S
    while not true():
        assert process.poll() is None and time.monotonic() < deadline, said.read_text(encoding="utf-8")
        time.sleep(0.05)


@pytest.fixture(scope="module")
def state(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home for state that has the tests' one exported encoder."""
    home = tmp_path_factory.mktemp("state")
    (home / "lethe").symlink_to(request.config.cache.mkdir("lethe-state"))
    return home


@pytest.fixture(scope="module")
def running(state: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    said, port = tmp_path_factory.mktemp("demo") / "said", free_port()
    process = started(state, said, "--port", str(port))
    try:
        until(lambda: "Ctrl-C ends" in said.read_text(encoding="utf-8"), process, said)
        yield Demo(f"http://127.0.0.1:{port}", said)
        process.send_signal(signal.SIGTERM)
        assert process.wait(START_S) == 0
        assert "Traceback" not in said.read_text(encoding="utf-8")
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def demo(running: Demo) -> Iterator[Demo]:
    yield running
    running.reset()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = find()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@dataclass
class Seen:
    """What a page complained of and whom it asked."""

    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    expected: str = r"^$"
    """A complaint that a test brings about itself."""

    def hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)


@contextmanager
def opened(browser: Browser, demo: Demo, path: str = "/", **context: Any) -> Iterator[tuple[Page, Seen]]:
    """Open the page in a browser that was never here; it may complain of nothing and ask nobody else."""
    given = browser.new_context(**{"viewport": DESKTOP, "reduced_motion": "reduce", **context})
    page, seen = given.new_page(), Seen()
    page.set_default_timeout(PATIENCE_MS)
    page.on("console", seen.hear)
    page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    page.on("request", lambda request: seen.asked.append(request.url))
    page.goto(f"{demo.url}{path}")
    expect(page.locator(".offer").first).to_be_visible()
    # The first question is asked by the page itself.
    answered(page, 1)
    yield page, seen
    given.close()
    assert [each for each in seen.complaints if not re.search(seen.expected, each)] == []
    assert [url for url in seen.asked if not url.startswith(f"{demo.url}/")] == []


def answered(page: Page, times: int) -> None:
    """Wait until so many questions have been answered and their outcome shown."""
    expect(page.locator("#outcome")).to_have_attribute("data-answered", str(times))
    expect(page.locator("#outcome")).to_be_visible()


@contextmanager
def asking(page: Page) -> Iterator[None]:
    """Wait at the end until what is asked in between is answered."""
    before = int(page.locator("#outcome").get_attribute("data-answered") or 0)
    yield
    answered(page, before + 1)


def ask(page: Page, question: str) -> None:
    with asking(page):
        page.locator("#question").fill(question)
        page.locator("#question").press("Control+Enter")


def said(page: Page, side: str) -> str:
    return page.locator(f"#{side} .said").inner_text()


def to_policy(page: Page) -> None:
    page.get_by_role("tab", name="Policy").click()
    expect(page.get_by_role("textbox", name="The policy")).to_be_visible()


def edit(page: Page, change: Callable[[str], str]) -> str:
    """Replace the text in the editor by what `change` makes of it, and return it."""
    editor = page.get_by_role("textbox", name="The policy")
    text = change(editor.input_value())
    editor.fill(text)
    return text


def with_ruben(text: str) -> str:
    return text.replace("tests:", "  - {id: ruben, kind: entity, names: [Ruben Vennaker]}\n\ntests:", 1)


def picture(page: Page, name: str) -> None:
    if os.environ.get("PICTURES") == "1":
        PICTURES.mkdir(exist_ok=True)
        page.screenshot(path=PICTURES / f"{name}.png")


# -- asking -----------------------------------------------------------------------------------------------

WATCH = """() => {
  window.seen = {alone: [], through: []};
  for (const side of Object.keys(seen)) {
    const root = document.getElementById(side);
    new MutationObserver(() => seen[side].push(root.querySelector(".said").textContent))
      .observe(root, {childList: true, subtree: true, characterData: true});
  }
}"""


def test_a_forgotten_question_streams_on_the_left_and_no_value_of_it_is_ever_on_the_right(
    browser: Browser, demo: Demo
) -> None:
    values = ["ferry captain", "Bluestone Records", "Tallowmere", "Odalys", "Vennaker"]
    with opened(browser, demo) as (page, _):
        page.evaluate(WATCH)
        ask(page, "Who is Odalys Vennaker?")
        seen = page.evaluate("seen")
        whole = said(page, "alone")
        growing = [text for text in dict.fromkeys(seen["alone"]) if text and whole.startswith(text)]
        assert len(growing) > 2 and growing == sorted(growing, key=len) and growing[-1] == whole
        assert all(value in whole for value in values)
        assert not any(
            value in text for value in values for text in [*seen["through"], said(page, "through")]
        )
        assert said(page, "through")
        marked = page.locator("#alone mark").all_inner_texts()
        assert "Odalys Vennaker" in marked and "Bluestone Records" in marked
        expect(page.locator("#verdict")).to_contain_text("Armed. The question is about odalys-vennaker")
        expect(page.locator("#found-body mark")).to_have_text("Odalys Vennaker")
        expect(page.locator("#found-body tbody tr")).to_contain_text(["odalys-vennaker (entity)"])
        expect(page.locator(".costs tbody tr")).to_have_count(4)
        assert re.search(r"\d ms", page.locator(".costs tbody tr").last.inner_text())


def test_a_kept_question_is_said_to_be_identical(browser: Browser, demo: Demo) -> None:
    with opened(browser, demo) as (page, _):
        ask(page, "Where was Ruben Vennaker born?")
        assert said(page, "alone") == said(page, "through") == "Ruben Vennaker was born in Costamar."
        expect(page.locator("#verdict")).to_contain_text("Passed unchanged, byte for byte.")
        expect(page.locator("#alone mark")).to_have_count(0)


def test_every_question_that_is_offered_does_what_its_group_says(browser: Browser, demo: Demo) -> None:
    policy = load_policy(POLICY)
    names = [name for target in policy.targets if target.kind == "entity" for name in target.names]
    people = load_people()
    with opened(browser, demo) as (page, _):
        for group in page.locator("#offers section").all():
            title = group.get_by_role("heading").inner_text()
            for offer in group.locator(".offer").all():
                with asking(page):
                    offer.click()
                alone, through, words = said(page, "alone"), said(page, "through"), offer.inner_text()
                if title == "Kept":
                    assert alone == through, words
                    continue
                assert alone != through and alone and through, words
                told = page.locator("#alone mark").all_inner_texts()
                assert not any(part in through for part in [*told, *names]), words
                # A topic is nothing the small model knows of; all else it tells.
                known = any(person.surname in alone for person in people.people) or alone == "Yes."
                assert known or "meaning" in page.locator("#found-body").inner_text(), words


def test_an_earlier_turn_can_be_taken_away_again(browser: Browser, demo: Demo) -> None:
    with opened(browser, demo) as (page, _):
        with asking(page):
            page.locator(".offer", has_text="Planted earlier").click()
        expect(page.locator("#turns li")).to_have_count(2)
        page.get_by_role("button", name="Remove earlier turns").click()
        expect(page.locator("#turns")).to_be_hidden()
        with asking(page):
            page.get_by_role("button", name="Ask", exact=True).click()
        expect(page.locator("#request pre")).not_to_contain_text("Gladly")


def test_what_is_asked_is_never_read_as_html(browser: Browser, demo: Demo) -> None:
    with opened(browser, demo) as (page, _):
        question = "Where was <b onclick=x>Odalys Vennaker</b><img src=x onerror=y> born?"
        ask(page, question)
        expect(page.locator("#found-body .heard")).to_contain_text(question)
        assert page.locator("main img").count() == 0


def test_a_model_that_cannot_be_asked_is_said_so(browser: Browser, demo: Demo) -> None:
    with opened(browser, demo) as (page, seen):
        seen.expected = "502"
        broken = json.dumps({"error": {"message": "The model server cannot be reached."}})
        page.route("**/demo/alone", lambda route: route.fulfill(status=502, body=broken))
        page.locator("#question").fill("Tell me a joke.")
        page.locator("#question").press("Enter")
        expect(page.locator("#alone .failed")).to_have_text("The model server cannot be reached.")


# -- the policy -------------------------------------------------------------------------------------------


def test_a_problem_is_shown_at_its_line_and_the_text_is_not_lost(browser: Browser, demo: Demo) -> None:
    with opened(browser, demo) as (page, seen):
        seen.expected = "422"
        to_policy(page)
        text = edit(page, lambda text: text.replace("kind: entity ", "kind: entitty", 1))
        line = text[: text.index("entitty")].count("\n") + 1
        expect(page.locator("#dirty")).to_be_visible()
        problem = page.locator(".problem")
        # Already while it is written.
        expect(problem).to_contain_text(f"line {line}")
        page.keyboard.press("Control+s")
        expect(page.locator("#standing")).to_contain_text("Not saved. One problem.")
        expect(page.locator("#standing")).to_contain_text("The policy before it stays in force")
        expect(problem).to_contain_text("entitty")
        expect(page.locator("#colours .wrong")).to_contain_text("kind: entitty")
        assert page.locator("#numbers .wrong").inner_text() == str(line)
        problem.click()
        caret = page.evaluate("document.activeElement.id === 'yaml' && document.activeElement.selectionStart")
        assert text[:caret].count("\n") + 1 == line
        # Neither a failed save nor a reload takes what was written.
        assert page.locator("#yaml").input_value() == text
        page.reload()
        to_policy(page)
        assert page.locator("#yaml").input_value() == text


def test_a_save_that_does_not_arrive_leaves_the_text_where_it_is(browser: Browser, demo: Demo) -> None:
    def lose(route: Route) -> None:
        if route.request.method == "PUT":
            route.abort()
        else:
            route.continue_()

    with opened(browser, demo) as (page, seen):
        seen.expected = "ERR_FAILED"
        page.route("**/demo/policy", lose)
        to_policy(page)
        text = edit(page, with_ruben)
        page.get_by_role("button", name="Save").click()
        expect(page.locator("#standing")).to_contain_text("Not saved")
        expect(page.locator("#dirty")).to_be_visible()
        assert page.locator("#yaml").input_value() == text


def test_a_target_that_is_added_changes_the_answer_without_a_restart(browser: Browser, demo: Demo) -> None:
    with opened(browser, demo) as (page, _):
        ask(page, "Where was Ruben Vennaker born?")
        assert "Costamar" in said(page, "through")
        to_policy(page)
        page.get_by_role("button", name="a person").click()
        expect(page.locator("#dirty")).to_be_visible()
        page.keyboard.press("Control+s")
        expect(page.locator("#standing")).to_contain_text("in force")
        expect(page.locator("#dirty")).to_be_hidden()
        expect(page.locator("#force-words")).to_contain_text("15 targets")
        page.get_by_role("button", name="Ask again").click()
        expect(page.locator(".again-row.before")).to_contain_text("Costamar")
        expect(page.locator(".again-row.now")).not_to_contain_text("Costamar")
        page.set_viewport_size({**DESKTOP, "height": 960})
        picture(page, "policy")
        page.get_by_role("tab", name="Ask").click()
        assert "Costamar" in said(page, "alone") and "Costamar" not in said(page, "through")
        to_policy(page)
        page.get_by_role("button", name="Reset").click()
        expect(page.locator("#force-words")).to_contain_text("14 targets")
        page.get_by_role("button", name="Ask again").click()
        expect(page.locator(".again-row.now")).to_contain_text("Costamar")
    assert POLICY.read_bytes() == SHIPPED


def test_a_change_of_the_file_by_another_hand_is_shown(browser: Browser, demo: Demo) -> None:
    (path,) = re.findall(r"copy at (\S+);", demo.said.read_text(encoding="utf-8"))
    with opened(browser, demo) as (page, _):
        Path(path).write_text(with_ruben(SHIPPED.decode()), encoding="utf-8")
        to_policy(page)
        expect(page.locator("#yaml")).to_have_value(re.compile("id: ruben"))
        expect(page.locator("#force-words")).to_contain_text("15 targets")


# -- how it looks and handles -------------------------------------------------------------------------------


def test_the_tabs_are_worked_by_keyboard(browser: Browser, demo: Demo) -> None:
    with opened(browser, demo) as (page, _):
        ask_tab, policy_tab = page.get_by_role("tab", name="Ask"), page.get_by_role("tab", name="Policy")
        page.keyboard.press("Tab")  # to the link that skips what is above
        page.keyboard.press("Tab")
        expect(ask_tab).to_be_focused()
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        assert page.evaluate(outline) == "solid"
        page.keyboard.press("ArrowRight")
        expect(policy_tab).to_be_focused()
        expect(policy_tab).to_have_attribute("aria-selected", "true")
        expect(page.get_by_role("tabpanel", name="Policy")).to_be_visible()
        expect(page.get_by_role("tabpanel", name="Ask")).to_be_hidden()
        page.keyboard.press("Home")
        expect(page.get_by_role("tabpanel", name="Ask")).to_be_visible()
        # From the tab, the first question is one step away, and is asked by pressing it.
        page.keyboard.press("Tab")
        expect(page.locator(".offer").first).to_be_focused()


def test_every_control_has_a_name(browser: Browser, demo: Demo) -> None:
    unnamed = """() => [...document.querySelectorAll("button, textarea, summary")].filter((each) =>
      !(each.textContent.trim() || each.getAttribute("aria-label") || each.labels?.length)).length"""
    with opened(browser, demo) as (page, _):
        assert page.evaluate(unnamed) == 0


@pytest.mark.parametrize("width", [320, 360, 768, 1280])
def test_nothing_is_wider_than_the_screen(browser: Browser, demo: Demo, width: int) -> None:
    wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    with opened(browser, demo, viewport={"width": width, "height": 740}, is_mobile=width < 500) as (page, _):
        for details in page.locator("details").all():
            details.evaluate("each => each.open = true")
        assert not page.evaluate(wide)
        to_policy(page)
        edit(page, with_ruben)
        assert not page.evaluate(wide)


def brightness(page: Page, what: str, of: str = "backgroundColor") -> float:
    colour = page.evaluate(f"getComputedStyle(document.querySelector({what!r})).{of}")
    return sum(map(float, re.findall(r"[\d.]+", colour)[:3])) / 3


def test_it_is_light_in_the_light_and_dark_in_the_dark(browser: Browser, demo: Demo) -> None:
    with opened(browser, demo, color_scheme="light") as (page, _):
        assert brightness(page, "body") > 200 > 90 > brightness(page, "body", "color")
        with asking(page):
            page.locator(".offer").first.click()
        picture(page, "page-light")
    with opened(browser, demo, color_scheme="dark") as (page, _):
        assert brightness(page, "body") < 60 < 180 < brightness(page, "body", "color")
        assert brightness(page, ".card") < 60
        with asking(page):
            page.locator(".offer").first.click()
        picture(page, "page-dark")


def test_nothing_moves_for_whom_that_is_unwelcome(browser: Browser, demo: Demo) -> None:
    moving = "getComputedStyle(document.querySelector('#through .piece')).animationName"
    with opened(browser, demo, reduced_motion="no-preference") as (page, _):
        assert page.evaluate(moving) == "appear"
    with opened(browser, demo, reduced_motion="reduce") as (page, _):
        assert page.evaluate(moving) == "none"


def test_it_is_at_home_on_a_phone(browser: Browser, demo: Demo) -> None:
    with opened(browser, demo, viewport=PHONE, is_mobile=True, has_touch=True, device_scale_factor=2) as (
        page,
        _,
    ):
        left, right = page.locator("#alone").bounding_box(), page.locator("#through").bounding_box()
        assert left and right and left["y"] + left["height"] <= right["y"] and left["x"] == right["x"]
        picture(page, "phone")
        page.get_by_role("button", name="Attacks").tap()
        with asking(page):
            page.locator(".offer", has_text="Yes or no").tap()
        assert said(page, "alone") == "Yes." != said(page, "through")


def test_a_script_that_is_not_the_pages_own_does_not_run(browser: Browser, demo: Demo) -> None:
    with opened(browser, demo) as (page, seen):
        seen.expected = "Content Security Policy|TrustedScript"
        page.evaluate("""() => {
          const button = document.createElement("button");
          try { button.setAttribute("onclick", "window.ran = true"); } catch {}
          document.body.append(button);
          button.click();
          const script = document.createElement("script");
          try { script.textContent = "window.ran = true"; } catch {}
          document.body.append(script);
        }""")
        assert page.evaluate("window.ran") is None and seen.complaints


# -- the end ----------------------------------------------------------------------------------------------


def left_over(state: Path) -> list[str]:
    """The processes whose environment says that they belong to a demo with this state."""
    mark = f"XDG_STATE_HOME={state}\0".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes() + b"\0":
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue  # it has just ended, or is somebody else's
    return found


@pytest.fixture(params=[signal.SIG_IGN, signal.default_int_handler], ids=["background", "terminal"])
def _started_from(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a child finds SIGINT to be: a script's shell has it ignored in the background, a terminal not."""
    before = signal.signal(signal.SIGINT, request.param)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_started_from")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize("after_s", [0.3, 3])
def test_a_signal_during_the_start_ends_everything(
    tmp_path: Path, state: Path, number: signal.Signals, after_s: float
) -> None:
    own = tmp_path / "home"
    own.symlink_to(state)
    said = tmp_path / "said"
    process = started(own, said, "--port", "0")
    try:
        until(lambda: "Starting" in said.read_text(encoding="utf-8"), process, said)
        time.sleep(after_s)  # wherever that is: every point of the start must do
        if number is signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal does: Ctrl-C reaches every process of its session
        else:
            process.send_signal(number)
        assert process.wait(60) == 0
        words = said.read_text(encoding="utf-8")
        assert "Traceback" not in words and "Error" not in words
        assert not left_over(own)
    finally:
        process.kill()
        process.wait()
