// One of the two answers: it grows as it comes, and says how it ended.

import { element, milliseconds, spanned } from "./elements.js";

export class AnswerCard {
  constructor(root, title) {
    this.said = element("p", { class: "said nothing" }, "Ask something.");
    this.foot = element("footer");
    root.replaceChildren(element("h2", {}, title), this.said, this.foot);
  }

  begin() {
    this.said.className = "said waits";
    this.said.replaceChildren();
    this.foot.textContent = "";
  }

  hear(piece) {
    this.said.append(element("span", { class: "piece" }, piece));
  }

  end(answer) {
    this.said.classList.remove("waits");
    if (!answer.text) {
      this.said.classList.add("nothing");
      this.said.textContent = "Nothing at all.";
    }
    const notes = [`${milliseconds(answer.whole)} in all`];
    if (answer.finish === "length") notes.push("cut at the token limit");
    if (answer.refusal) notes.push("sent as a refusal");
    this.foot.textContent = notes.join(" · ");
  }

  // Marks what the policy says to forget. Spans count code points.
  mark(answer, spans) {
    if (!spans.length) return;
    const marked = spanned(answer.text, joined(spans), (piece, over) => {
      const title = [...new Set(over.map((span) => `${span.target}: ${span.part}`))].join(", ");
      return element("mark", { title }, piece);
    });
    this.said.replaceChildren(...marked);
  }

  fail(error) {
    this.said.className = "said failed";
    this.said.textContent = error.message;
    this.foot.textContent = error.status ? `status ${error.status}` : "";
  }
}

// A name is found as a whole and word by word: what overlaps is marked once.
function joined(spans) {
  const apart = [];
  for (const span of [...spans].sort((one, other) => one.start - other.start || other.end - one.end)) {
    const last = apart.at(-1);
    if (last && span.start < last.end) last.end = Math.max(last.end, span.end);
    else apart.push({ ...span });
  }
  return apart;
}
