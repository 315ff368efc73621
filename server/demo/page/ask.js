// The first tab: a question, both answers, and what became of them.

import { AnswerCard } from "./answers.js";
import { byId, element } from "./elements.js";
import { findings, verdict } from "./found.js";
import { cost } from "./timing.js";
import { ask as askModel, get, send } from "./wire.js";

const SETTINGS = { temperature: 0, max_tokens: 64 };

export class Asking extends EventTarget {
  constructor() {
    super();
    this.model = "";
    this.earlier = [];
    this.more = {};
    this.answered = 0; // questions whose outcome was shown
    this.last = null; // {request, alone, through} of the last question that was answered
    this.alone = new AnswerCard(byId("alone"), "The model alone");
    this.through = new AnswerCard(byId("through"), "Through Lethe");
    this.box = byId("question");
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.ask();
    });
    this.box.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.isComposing || event.shiftKey) return;
      event.preventDefault();
      this.ask();
    });
    this.box.addEventListener("input", () => {
      this.grow();
      this.current(null);
    });
  }

  offer(config) {
    this.model = config.model;
    const picks = element("div", { class: "pick", role: "group", "aria-label": "Groups" });
    const sections = config.groups.map((group, place) => this.group(group, place, picks));
    byId("offers").replaceChildren(picks, ...sections);
    return config.groups[0]?.asked[0];
  }

  group(group, place, picks) {
    const id = `offers-${place}`;
    const section = element(
      "section",
      { "aria-labelledby": id, class: place === 0 ? "picked" : null },
      element("h2", { id }, group.group),
      element("p", { class: "quiet" }, group.about),
      element("ul", {}, group.asked.map((offered) => element("li", {}, this.button(offered)))),
    );
    const pick = element("button", { type: "button", class: "button", "aria-pressed": String(place === 0) }, group.group);
    pick.addEventListener("click", () => {
      for (const each of picks.children) each.setAttribute("aria-pressed", String(each === pick));
      for (const each of byId("offers").querySelectorAll("section")) each.classList.toggle("picked", each === section);
    });
    picks.append(pick);
    return section;
  }

  button(offered) {
    const said = Array.isArray(offered.question) ? offered.question.at(-1)[1] : offered.question;
    const under = offered.label ? said : offered.note;
    const made = element(
      "button",
      { type: "button", class: "offer", title: said },
      offered.label ?? said,
      under && element("small", {}, under),
    );
    made.addEventListener("click", () => {
      this.take(offered);
      this.current(made);
      const composer = byId("composer");
      if (composer.getBoundingClientRect().top < 0) composer.scrollIntoView();
      this.ask();
    });
    return made;
  }

  current(button) {
    for (const each of byId("offers").querySelectorAll(".offer")) {
      if (each === button) each.setAttribute("aria-current", "true");
      else each.removeAttribute("aria-current");
    }
  }

  // Puts an offered question into the composer, with its earlier turns and whatever else it asks for.
  take(offered) {
    const turns = Array.isArray(offered.question) ? offered.question : [["user", offered.question]];
    this.earlier = turns.slice(0, -1).map(([role, content]) => ({ role, content }));
    this.more = { ...(offered.request ?? {}) };
    this.box.value = turns.at(-1)[1];
    this.draw();
  }

  draw() {
    const names = { user: "You", assistant: "The model" };
    const turns = this.earlier.map(({ role, content }) => element("li", {}, element("b", {}, names[role] ?? role), content));
    byId("turns").replaceChildren(...turns);
    byId("turns").hidden = !turns.length;
    const extras = Object.entries(this.more).map(([name, value]) =>
      this.extra(`${name}: ${value.json_schema ? "enum" : value}`, () => delete this.more[name]),
    );
    if (turns.length) extras.push(this.extra("earlier turns", () => (this.earlier = [])));
    byId("extras").replaceChildren(...extras);
    byId("extras").hidden = !extras.length;
    this.grow();
  }

  extra(words, remove) {
    const made = element("button", { type: "button", class: "button extra", "aria-label": `Remove ${words}` }, words, element("span", { "aria-hidden": "true" }, "×"));
    made.addEventListener("click", () => {
      remove();
      this.draw();
      this.box.focus();
    });
    return made;
  }

  grow() {
    // Where the browser does not size a field by its content, its lines are counted.
    if (!CSS.supports("field-sizing", "content")) this.box.rows = Math.min(6, this.box.value.split("\n").length);
  }

  get request() {
    const messages = [...this.earlier, { role: "user", content: this.box.value.trim() }];
    return { model: this.model, messages, ...SETTINGS, ...this.more };
  }

  // Asks what stands in the composer, or `request` once more.
  async ask(request = this.request) {
    if (!request.messages.at(-1).content) {
      this.box.focus();
      return;
    }
    this.running?.abort();
    const running = (this.running = new AbortController());
    byId("outcome").hidden = true;
    byId("live").textContent = "";
    this.dispatchEvent(new Event("asked"));
    try {
      // One after the other: the demo's model answers one question at a time, and neither is to wait.
      this.alone.begin();
      this.through.begin();
      const alone = await this.hear(this.alone, "/demo/alone", request, running.signal);
      const through = await this.hear(this.through, "/v1/chat/completions", request, running.signal);
      if (alone && through) await this.tell(request, alone, through, running.signal);
    } catch (error) {
      if (!running.signal.aborted) this.through.fail(error);
    } finally {
      if (this.running === running) {
        this.running = null;
        this.dispatchEvent(new Event("ended"));
      }
    }
  }

  async hear(card, path, request, signal) {
    try {
      const answer = await askModel(path, request, (piece) => card.hear(piece), signal);
      card.end(answer);
      return answer;
    } catch (error) {
      if (signal.aborted) throw error;
      card.fail(error);
      return null;
    }
  }

  async tell(request, alone, through, signal) {
    const asked = { request, answer: alone.text };
    const [{ value: found }, { records }] = await Promise.all([
      send("POST", "/demo/findings", asked, { signal }),
      get(`/demo/record?exchange=${encodeURIComponent(through.id ?? "")}`),
    ]);
    if (signal.aborted) return;
    this.alone.mark(alone, found.told);
    const { kind, words } = verdict(found, alone, through, records);
    byId("outcome").hidden = false;
    byId("outcome").dataset.answered = String((this.answered += 1));
    byId("verdict").className = `verdict ${kind}`;
    byId("verdict").replaceChildren(element("span", {}, ...words));
    byId("live").textContent = byId("verdict").textContent;
    byId("found-body").replaceChildren(...findings(found, request.messages));
    byId("cost-body").replaceChildren(...cost(alone, through, found.read_ms, found.encoded));
    detail("record", JSON.stringify(records, null, 1), "No text is in it, neither of the question nor of the answer: lengths, counts and keyed hashes. The records are chained and signed; lethe audit verify checks them.");
    detail("request", JSON.stringify({ ...request, stream: true }, null, 1), `Sent to ${location.origin}/v1/chat/completions, where any OpenAI client can send it; the model alone got the same, at /demo/alone.`);
    this.last = { request, alone, through };
    this.dispatchEvent(new Event("answered"));
  }
}

function detail(id, text, note) {
  const pre = element("pre", { tabindex: "0" }, text);
  byId(id).lastElementChild.replaceChildren(element("p", { class: "quiet" }, note), pre);
}
