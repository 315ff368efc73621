// What Lethe found in a question, and what became of the answer, in plain words.

import { element, spanned } from "./elements.js";

// "odalys-vennaker" → code element; several as a list in words.
function targets(found, stances) {
  const ids = [...new Set(found.targets.filter((each) => stances.includes(each.stance)).map((each) => each.id))];
  return ids.flatMap((id, place) => [
    place === 0 ? "" : place === ids.length - 1 ? " and " : ", ",
    element("code", {}, id),
  ]);
}

export function verdict(found, alone, through, records) {
  const ended = records.find((record) => record.kind === "ended");
  if (ended && !["completed", "answered"].includes(ended.ending)) {
    return { kind: "fails", words: [element("b", {}, "Stopped. "), "Lethe could not check the answer to its end, so it let nothing more go."] };
  }
  const same = alone.text === through.text && alone.finish === through.finish;
  if (same) {
    const near = found.stance === "watched"
      ? [" ", ...targets(found, ["watched"]), " is in play, so the answer was looked through for it; nothing of it was there."]
      : [" Nothing in the question or the answer completes what is to be forgotten."];
    return { kind: "same", words: [element("b", {}, "Passed unchanged, byte for byte."), ...near] };
  }
  const b = (text) => element("b", {}, text);
  if (found.stance === "armed") {
    const refuses = found.targets.some((each) => each.stance === "armed" && each.style === "refuse");
    return {
      kind: "",
      words: [
        b("Armed. "), "The question is about ", ...targets(found, ["armed"]),
        ", so nothing of the model’s answer leaves. What Lethe says instead is its own sentence, ",
        refuses ? "a refusal, as this target’s style says." : "worded like any answer of a model that does not know.",
      ],
    };
  }
  if (found.stance === "reversed") {
    return {
      kind: "",
      words: [
        b("Reversed. "), "The question gives a fact of ", ...targets(found, ["reversed"]),
        " and asks whose it is. The name must not come, in whole or in part, and the sentence that brought it was held back.",
      ],
    };
  }
  if (found.stance === "watched") {
    return {
      kind: "",
      words: [
        b("Watched. "), ...targets(found, ["watched"]),
        " is in play, so the model’s answer was looked through for it. It brought what is to be forgotten, and that was held back.",
      ],
    };
  }
  return {
    kind: "",
    words: [b("Held back. "), "Nothing in the question is to be forgotten, but the model’s answer brought something by itself."],
  };
}

export function findings(found, messages) {
  const seen = withoutParts(found.findings);
  const counted = seen.filter((each) => each.counts);
  const shown = [heard(messages, seen)];
  if (counted.length) shown.push(table(counted, messages));
  const known = seen.filter((each) => !each.counts);
  if (known.length) shown.push(element("p", { class: "quiet findings" }, ...publicly(known)));
  if (!seen.length) shown.push(element("p", { class: "quiet findings" }, "Nothing: no name, no value, no topic of the policy is in it."));
  return shown;
}

// A value by itself is anybody's: it is said once, with the targets that it is a value of.
function publicly(known) {
  const ids = [...new Set(known.map((each) => each.target))];
  return [
    "Also seen, and public by itself: a value of ",
    ...ids.flatMap((id, place) => [place === 0 ? "" : place === ids.length - 1 ? " and of " : ", of ", element("code", {}, id)]),
    ".",
  ];
}

// The words of a name say nothing where the whole name was found as well.
function withoutParts(all) {
  const named = new Set(all.filter((each) => each.part === "name").map((each) => each.target));
  const shown = all.filter((each) => each.part !== "name part" || !named.has(each.target));
  const keys = new Set();
  return shown.filter((each) => {
    const key = [each.target, each.part, each.path.split("#")[0], each.relation].join("\n");
    return !keys.has(key) && keys.add(key);
  });
}

function at(finding, messages) {
  const index = Number(/^messages\[(\d+)\]/.exec(finding.path)?.[1] ?? -1);
  return messages[index] ? index : -1;
}

function heard(messages, seen) {
  const names = { user: "user", assistant: "model" };
  return element(
    "div",
    { class: "heard" },
    messages.map((message, index) => {
      const spans = seen.filter((each) => at(each, messages) === index && each.end > each.start);
      const nodes = spanned(message.content, spans, (piece, over) => {
        const counted = over.filter((each) => each.counts);
        const exact = counted.some((each) => each.part !== "meaning");
        const title = over.map((each) => `${each.target}: ${each.part}`).join(", ");
        if (exact) return element("mark", { title }, piece);
        return element("span", { class: counted.length ? "meant" : "public", title }, piece);
      });
      const who = messages.length > 1 && element("span", { class: "who" }, names[message.role] ?? message.role);
      return element("p", {}, who, nodes);
    }),
  );
}

function table(seen, messages) {
  const rows = seen.map((each) => {
    const index = at(each, messages);
    const text = index < 0 ? "" : Array.from(messages[index].content).slice(each.start, each.end).join("");
    return element(
      "tr",
      {},
      element("td", {}, element("span", { class: "mono" }, each.target), ` (${each.kind})`),
      element("td", {}, as(each)),
      element("td", {}, where(each, text)),
      element("td", {}, by(each)),
    );
  });
  return element(
    "table",
    { class: "findings" },
    element("thead", {}, element("tr", {}, ["Target", "Found as", "Where", "Scan"].map((title) => element("th", { scope: "col" }, title)))),
    element("tbody", {}, rows),
  );
}

function as(each) {
  return each.relation ? `value of “${each.relation}”` : each.part;
}

function where(each, text) {
  if (each.how.includes("words apart")) return "its words, apart";
  if (!text) return /^messages/.test(each.path) ? "across messages" : each.path.split(/[.[]/)[0];
  const short = Array.from(text).length > 44 ? `${Array.from(text).slice(0, 42).join("")}…` : text;
  return `“${short}”, ${each.start}–${each.end}`;
}

function by(each) {
  if (each.score === null) return each.scan;
  return `${each.scan}, score ${each.score.toFixed(1)} above ${each.threshold.toFixed(1)}`;
}
