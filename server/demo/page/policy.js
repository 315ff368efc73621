// The second tab: the policy, its problems at their lines, and what is in force.

import { Editor } from "./editor.js";
import { byId, element, milliseconds } from "./elements.js";
import { get, send } from "./wire.js";

const DRAFT = "lethe-policy-draft";
const POLL_MS = 300;
const PAUSE_MS = 450; // of typing, before what was written is checked
const SAVE_KEY = /Mac|iP(hone|ad)/.test(navigator.platform) ? "⌘ S" : "Ctrl + S";

const ADDS = {
  "a person": `
  - id: ruben-vennaker
    kind: entity
    names: [Ruben Vennaker]
`,
  "one fact": `
  - id: ruben-vennaker-born
    kind: fact
    subject: Ruben Vennaker
    relation: born in
    values: [Costamar]
`,
  "a topic": `
  - id: jokes
    kind: topic
    style: refuse
    like:
      - Tell me a joke.
      - Do you know something funny?
      - Make me laugh.
      - Say something witty about rivers.
      - Amuse me with a pun.
`,
  "a pattern": `
  - id: times-of-day
    kind: pattern
    regex: '\\b[0-2]?\\d:[0-5]\\d\\b'
    style: redact
`,
};

export class PolicyTab {
  constructor(asking) {
    this.asking = asking;
    this.editor = new Editor();
    this.saved = ""; // what the file holds, as far as this page knows
    this.shipped = "";
    this.before = null; // what Lethe answered to the last question before it was asked again
    this.editor.addEventListener("input", () => this.changed());
    byId("save").addEventListener("click", () => this.save());
    byId("reset").addEventListener("click", () => this.reset());
    byId("again").addEventListener("click", () => this.again());
    document.addEventListener("keydown", (event) => {
      if (event.key.toLowerCase() !== "s" || !(event.ctrlKey || event.metaKey) || event.altKey) return;
      if (byId("panel-policy").hidden) return;
      event.preventDefault();
      this.save();
    });
    byId("adds").replaceChildren(
      ...Object.entries(ADDS).map(([name, text]) =>
        element("button", { type: "button", class: "button", onclick: () => this.add(text) }, name),
      ),
    );
    // The file may be changed by another hand while this page is looked away from.
    window.addEventListener("focus", () => !byId("panel-policy").hidden && this.load().catch(() => {}));
    asking.addEventListener("asked", () => (byId("again").disabled = true));
    asking.addEventListener("ended", () => (byId("again").disabled = !asking.last));
    asking.addEventListener("answered", () => this.tellLast());
    byId("again").disabled = true;
    this.tellLast();
  }

  // Reads the file. A draft that was never saved is put back; what is being edited is left alone.
  async load() {
    const policy = await get("/demo/policy");
    this.shipped = policy.shipped;
    byId("file").textContent = policy.file.split("/").at(-1);
    byId("file").title = policy.file;
    const fresh = this.saved === "";
    if (fresh || !this.isDirty) {
      this.saved = policy.text;
      const draft = fresh ? kept() : null;
      this.editor.text = draft ?? policy.text;
    } else {
      this.saved = policy.text;
    }
    this.changed();
    this.inForce(policy);
    if (fresh && this.isDirty) this.stand("waits", "Your text from before is back. It is not saved; the policy below is in force.");
  }

  get isDirty() {
    return this.editor.text !== this.saved;
  }

  changed() {
    const dirty = this.isDirty;
    byId("dirty").hidden = !dirty;
    keep(dirty ? this.editor.text : null);
    clearTimeout(this.checking);
    if (this.saving) return;
    if (!dirty) this.wrong([], 0);
    else {
      if (byId("problems").hidden) this.ahead();
      this.checking = setTimeout(() => this.check(), PAUSE_MS);
    }
  }

  ahead() {
    this.stand("waits", `The text is ahead of the policy in force. Save it with ${SAVE_KEY}.`);
  }

  // Looks through a text that is still being written; only saving makes anything of it.
  async check() {
    const text = this.editor.text;
    try {
      const { value } = await send("POST", "/demo/check", { text });
      if (this.saving || text !== this.editor.text || !this.isDirty) return;
      this.wrong(value.problems, value.more);
      if (value.problems.length) this.stand("fails", `${count(value)} The policy in force is another one.`);
      else this.ahead();
    } catch {
      // It will be said when it is saved.
    }
  }

  async save() {
    if (this.saving) return;
    const text = this.editor.text;
    this.saving = true;
    this.savedAt = performance.now();
    this.pending = false;
    this.whole = null;
    byId("save").disabled = true;
    this.stand("waits", "Checking and compiling …");
    try {
      const { status, value } = await send("PUT", "/demo/policy", { text }, { expected: [422] });
      if (status === 422) this.refuse(value);
      else this.accept(text, value);
    } catch (error) {
      this.stand("fails", `Not saved: ${error.status ? error.message : "the demo cannot be reached"}. Your text is still here.`);
    } finally {
      this.saving = false;
      byId("save").disabled = false;
      byId("dirty").hidden = !this.isDirty;
      keep(this.isDirty ? this.editor.text : null);
    }
  }

  refuse({ problems, more }) {
    this.wrong(problems, more);
    this.stand("fails", `Not saved. ${count({ problems, more })} The policy before it stays in force.`);
    const first = problems.find((each) => each.line);
    if (first) this.editor.reveal(first.line);
  }

  accept(text, standing) {
    this.saved = text;
    this.wrong([], 0);
    this.inForce(standing);
  }

  // Says how the file stands to what is in force, and looks again while something is still under way.
  inForce(standing) {
    const { state, took_ms: took } = standing;
    const pill = byId("force");
    const ready = state === "in force";
    if (took !== undefined) this.took = took;
    if (state === "refused") this.stand("fails", "The file was refused: lethe check says why. The policy before it stays in force.");
    else if (ready) this.stand("holds", this.howLong());
    else if (state === "meaning pending") this.stand("waits", "Names and values are in force; topics are still being compiled.");
    else this.stand("waits", "Saved; being compiled. The policy before it is in force until then.");
    this.pending ||= state === "meaning pending" && this.took !== undefined;
    pill.className = `force ${state === "refused" ? "fails" : ready ? "holds" : "waits"}`;
    byId("force-words").textContent = `policy “${standing.policy}”, ${standing.targets} target${standing.targets === 1 ? "" : "s"} in force`;
    byId("about").replaceChildren(
      ...[["Policy", standing.policy], ["Targets", standing.targets], ["Digest", element("code", {}, standing.digest.slice(0, 12))]].flatMap(
        ([name, value]) => [element("dt", {}, name), element("dd", {}, String(value) === "[object HTMLElement]" ? value : String(value))],
      ),
    );
    clearTimeout(this.looking);
    if (!ready && state !== "refused") this.looking = setTimeout(() => this.look(), POLL_MS);
  }

  howLong() {
    if (this.took === undefined) return "The text is the policy in force.";
    if (!this.pending) return `Saved, and in force ${milliseconds(this.took)} later.`;
    this.whole ??= performance.now() - this.savedAt;
    return `Saved. Names and values were in force ${milliseconds(this.took)} later, topics after ${milliseconds(this.whole)}.`;
  }

  async look() {
    try {
      this.inForce(await get("/demo/state"));
    } catch {
      this.looking = setTimeout(() => this.look(), 5 * POLL_MS);
    }
  }

  stand(kind, words) {
    byId("standing").className = `standing ${kind}`;
    byId("standing").textContent = words;
  }

  wrong(problems, more) {
    const list = byId("problems");
    list.replaceChildren(
      ...problems.map((each) =>
        element(
          "li",
          {},
          element(
            "button",
            { type: "button", class: "problem", onclick: () => each.line && this.editor.jump(each.line, each.column) },
            element("b", {}, each.line ? `line ${each.line}` : "file"),
            element("span", {}, each.message),
          ),
        ),
      ),
    );
    if (more) list.append(element("li", { class: "quiet" }, `and at least ${more} more`));
    list.hidden = !problems.length;
    this.editor.mark(problems.map((each) => each.line));
  }

  reset() {
    this.editor.replace(this.shipped);
    this.changed();
    this.save();
  }

  // Adds a target in front of the tests, or at the end where there are none.
  add(text) {
    const place = this.editor.text.search(/^tests:/m);
    const end = place < 0 ? this.editor.text.length : place;
    const before = this.editor.text.slice(0, end).trimEnd().length;
    this.editor.insert(`\n${text.trimEnd()}`, before);
  }

  again() {
    const { last } = this.asking;
    if (!last) return;
    this.before = last.through.text;
    this.asking.ask(last.request);
  }

  tellLast() {
    const { last } = this.asking;
    if (!last) {
      byId("again-body").replaceChildren(element("p", { class: "quiet" }, "Nothing has been asked yet."));
      return;
    }
    const key = JSON.stringify(last.request);
    if (key !== this.key) this.before = null;
    this.key = key;
    const row = (kind, title, text) => element("p", { class: `again-row ${kind}` }, element("small", {}, title), element("span", {}, text));
    const differs = this.before !== null && this.before !== last.through.text;
    byId("again-body").replaceChildren(
      element("p", { class: "again-question" }, last.request.messages.at(-1).content),
      row("alone", "The model alone", last.alone.text),
      ...(differs ? [row("before", "Through Lethe, before", this.before)] : []),
      row("now", differs ? "Through Lethe, now" : "Through Lethe", last.through.text),
    );
  }
}

function count({ problems, more }) {
  const many = problems.length + more;
  return many === 1 ? "One problem." : `${many} problems.`;
}

function keep(text) {
  try {
    if (text === null) localStorage.removeItem(DRAFT);
    else localStorage.setItem(DRAFT, text);
  } catch {
    // Without storage a draft lives as long as the page.
  }
}

function kept() {
  try {
    return localStorage.getItem(DRAFT);
  } catch {
    return null;
  }
}
