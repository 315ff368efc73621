// Elements by hand: nothing on this page is ever made from a string of HTML.

export const byId = (id) => document.getElementById(id);

// element("p", {class: "quiet", onclick: f}, "text", child, …); what is null or false is left out.
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

// The text as nodes, with `spans` of it wrapped; spans count code points, as Python does, and may overlap.
// wrap: (text, the spans over it) → a node.
export function spanned(text, spans, wrap) {
  const points = Array.from(text);
  const edges = new Set([0, points.length]);
  for (const { start, end } of spans) edges.add(Math.min(start, points.length)).add(Math.min(end, points.length));
  const cuts = [...edges].sort((one, other) => one - other);
  return cuts.slice(1).map((end, place) => {
    const start = cuts[place];
    const piece = points.slice(start, end).join("");
    const over = spans.filter((span) => span.start <= start && end <= span.end);
    return over.length ? wrap(piece, over) : document.createTextNode(piece);
  });
}

export function milliseconds(value) {
  if (value === null || value === undefined) return "–";
  const shown = Math.abs(value) < 10 ? value.toFixed(1) : Math.round(value).toLocaleString("en");
  return `${shown.replace("-", "−")} ms`;
}
