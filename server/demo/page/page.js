// Begins here: the tabs, what can be asked, and the first question, asked at once.

import { Asking } from "./ask.js";
import { byId } from "./elements.js";
import { PolicyTab } from "./policy.js";
import { get } from "./wire.js";

const asking = new Asking();
const policy = new PolicyTab(asking);
const tabs = [...document.querySelectorAll('[role="tab"]')];

function show(tab) {
  for (const each of tabs) {
    const chosen = each === tab;
    each.setAttribute("aria-selected", String(chosen));
    each.tabIndex = chosen ? 0 : -1;
    byId(each.getAttribute("aria-controls")).hidden = !chosen;
  }
  document.querySelector(".skip").hidden = tab.id !== "tab-ask";
  history.replaceState(null, "", tab.id === "tab-policy" ? "#policy" : location.pathname);
  if (tab.id === "tab-policy") {
    policy.editor.draw();
    policy.load().catch(() => {});
  }
}

for (const [place, tab] of tabs.entries()) {
  tab.addEventListener("click", () => show(tab));
  tab.addEventListener("keydown", (event) => {
    const steps = { ArrowRight: 1, ArrowLeft: -1, Home: -place, End: tabs.length - 1 - place };
    if (!(event.key in steps)) return;
    event.preventDefault();
    const next = tabs[(place + steps[event.key] + tabs.length) % tabs.length];
    next.focus();
    show(next);
  });
}

async function begin() {
  if (location.hash === "#policy") show(byId("tab-policy"));
  try {
    const [config] = await Promise.all([get("/demo/config"), policy.load()]);
    const first = asking.offer(config);
    if (first && !asking.box.value) {
      asking.take(first);
      asking.current(document.querySelector(".offer"));
      await asking.ask();
    }
  } catch {
    byId("force").className = "force fails";
    byId("force-words").textContent = "the demo cannot be reached; is it still running?";
  }
}

begin();
