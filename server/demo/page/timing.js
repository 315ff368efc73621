// What it cost: when each piece of both answers came, on one axis, and what each number is.

import { element, milliseconds } from "./elements.js";

const NOTES =
  "Each stroke is a piece of text arriving in this page, counted from sending the question; the shaded part is the wait for the first. " +
  "The two are asked one after the other, so that neither waits for the other. " +
  "Beyond reading, Lethe writes its audit to disk before it asks the model, and lets an answer go sentence by sentence; " +
  "an armed one is over with the model’s first sentence. One question is one sample: on a busy machine the two differ by chance.";

export function cost(alone, through, readMs, encoded) {
  const longest = Math.max(alone.whole, through.whole, 1);
  const axis = element("div", { class: "axis", "aria-hidden": "true" }, element("span", {}, "0"), element("span", {}, milliseconds(longest)));
  const head = (title) => element("th", { scope: "col" }, title);
  const texts = encoded === 1 ? "1 text" : `${encoded} texts`;
  const reading =
    "Lethe’s own work before the model is asked: timed in the gateway, by reading the question once more as if it were new" +
    `${encoded ? `, ${texts} given to the encoder` : ""}.`;
  return [
    element(
      "table",
      { class: "costs" },
      element("thead", {}, element("tr", { class: "timed" }, element("td"), element("th", { class: "lane" }, axis), head("first words"), head("whole answer"))),
      element(
        "tbody",
        {},
        row("timed of-alone", "The model alone", lane(alone, longest), milliseconds(alone.first), milliseconds(alone.whole)),
        row("of-through", "Through Lethe", lane(through, longest), milliseconds(through.first), milliseconds(through.whole)),
        row("sum", "Difference", null, between(alone.first, through.first), between(alone.whole, through.whole)),
        element(
          "tr",
          {},
          element("th", { scope: "row" }, "Reading"),
          element("td", { class: "note" }, reading),
          element("td", {}, milliseconds(readMs)),
          element("td"),
        ),
      ),
    ),
    element("p", { class: "notes" }, NOTES),
  ];
}

function row(kind, title, track, ...values) {
  return element(
    "tr",
    { class: kind },
    element("th", { scope: "row" }, title),
    element("td", { class: "lane" }, track),
    values.map((value) => element("td", {}, value)),
  );
}

function between(one, other) {
  if (one === null || other === null) return "–";
  return `${other > one ? "+" : ""}${milliseconds(other - one)}`;
}

function lane(answer, longest) {
  const at = (time) => `${(100 * time) / longest}%`;
  const track = element("span", { class: "track", "aria-hidden": "true" });
  const stroke = (name, left, width) => {
    const made = element("i", name ? { class: name } : {});
    made.style.left = left;
    if (width) made.style.width = width;
    track.append(made);
  };
  const first = answer.first ?? answer.whole;
  stroke("until", "0", at(first));
  stroke("span", at(first), at(answer.whole - first));
  for (const time of answer.pieces) stroke("", at(Math.min(time, longest * 0.996)));
  return track;
}
