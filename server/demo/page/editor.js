// A textarea with line numbers, light colours for YAML, and lines that are marked as wrong.
// The text itself is the textarea's own: where anything drawn beneath it fails, it is still there.

import { byId, element } from "./elements.js";

const MOST_LINES = 4000; // beyond it, a text has no colours: drawing would be slower than typing
const TOKEN = /((?:^|(?<=\s))#.*$)|("(?:[^"\\]|\\.)*"?|(?<=[\s,[{:-])'(?:[^']|'')*'?)|((?:^|(?<=[\s{,]))[\w-]+(?=:(?:\s|$)))|((?<=^\s*|:\s+|[,[{]\s*|\s-\s+)(?:true|false|null|-?\d+(?:\.\d+)?)(?=\s*(?:[,\]}#]|$)))|([[\]{},]|(?:^|(?<=\s))-(?=\s|$))/g;
const CLASSES = ["tok-note", "tok-text", "tok-key", "tok-atom", "tok-sign"];

export class Editor extends EventTarget {
  constructor() {
    super();
    this.root = byId("editor");
    this.area = byId("yaml");
    this.colours = byId("colours");
    this.numbers = byId("numbers");
    this.lines = [];
    this.wrong = new Set();
    this.area.addEventListener("input", () => {
      this.draw();
      this.dispatchEvent(new Event("input"));
    });
    this.area.addEventListener("scroll", () => this.follow(), { passive: true });
    this.area.addEventListener("keydown", (event) => this.indent(event));
  }

  get text() {
    return this.area.value;
  }

  // Replaces the text so that Ctrl+Z brings the old one back, where the browser still can.
  set text(value) {
    if (value === this.area.value) return;
    this.area.value = value;
    this.draw();
  }

  insert(text, at) {
    this.area.focus();
    this.area.setSelectionRange(at, at);
    // The one way of editing that undo knows of.
    if (!document.execCommand("insertText", false, text)) {
      this.area.setRangeText(text, at, at, "end");
      this.draw();
      this.dispatchEvent(new Event("input"));
    }
    this.area.setSelectionRange(at, at + text.length);
    this.reveal(this.area.value.slice(0, at).split("\n").length);
  }

  replace(text) {
    this.area.focus();
    this.area.select();
    if (!document.execCommand("insertText", false, text)) this.text = text;
    this.area.setSelectionRange(0, 0);
    this.area.scrollTop = 0;
    this.draw();
  }

  draw() {
    const texts = this.area.value.split("\n");
    const drawn = texts.length <= MOST_LINES;
    this.root.classList.toggle("drawn", drawn);
    this.count(texts.length);
    const shown = drawn ? texts : [];
    while (this.colours.children.length > shown.length) this.colours.lastElementChild.remove();
    shown.forEach((text, place) => {
      if (this.lines[place] === text && this.colours.children[place]) return;
      const line = element("div", {}, coloured(text));
      if (this.colours.children[place]) this.colours.children[place].replaceWith(line);
      else this.colours.append(line);
    });
    this.lines = shown;
    this.mark(this.wrong);
    this.follow();
  }

  count(lines) {
    while (this.numbers.children.length > lines) this.numbers.lastElementChild.remove();
    while (this.numbers.children.length < lines) {
      this.numbers.append(element("div", {}, String(this.numbers.children.length + 1)));
    }
  }

  // Marks lines, counted from 1, as wrong; an empty list marks none.
  mark(lines) {
    this.wrong = new Set(lines);
    for (const list of [this.numbers, this.colours]) {
      for (const [place, line] of [...list.children].entries()) line.classList.toggle("wrong", this.wrong.has(place + 1));
    }
  }

  // Puts the caret at a line and column, both from 1, and shows it.
  jump(line, column) {
    const before = this.area.value.split("\n").slice(0, line - 1);
    const start = before.join("\n").length + (line > 1 ? 1 : 0);
    const within = Math.max(0, Math.min(column - 1, this.area.value.split("\n")[line - 1]?.length ?? 0));
    this.area.focus();
    this.area.setSelectionRange(start + within, start + within);
    this.reveal(line);
  }

  reveal(line) {
    const height = parseFloat(getComputedStyle(this.area).lineHeight);
    const top = (line - 1) * height;
    if (top < this.area.scrollTop + height || top > this.area.scrollTop + this.area.clientHeight - 3 * height) {
      this.area.scrollTop = Math.max(0, top - this.area.clientHeight / 3);
    }
    this.area.scrollLeft = 0;
    this.follow();
  }

  follow() {
    const { scrollLeft, scrollTop } = this.area;
    this.colours.style.transform = `translate(${-scrollLeft}px, ${-scrollTop}px)`;
    this.numbers.style.transform = `translateY(${-scrollTop}px)`;
  }

  // Enter keeps the indent of its line. Tab goes on to the next control, as everywhere.
  indent(event) {
    if (event.key !== "Enter" || event.isComposing || event.ctrlKey || event.metaKey) return;
    const line = this.area.value.slice(0, this.area.selectionStart).split("\n").at(-1);
    const blanks = /^ */.exec(line)[0];
    if (blanks && document.execCommand("insertText", false, `\n${blanks}`)) event.preventDefault();
  }
}

function coloured(text) {
  const nodes = [];
  let done = 0;
  for (const match of text.matchAll(TOKEN)) {
    if (match.index > done) nodes.push(text.slice(done, match.index));
    const kind = CLASSES[match.slice(1).findIndex((part) => part !== undefined)];
    nodes.push(element("span", { class: kind }, match[0]));
    done = match.index + match[0].length;
  }
  nodes.push(text.slice(done));
  return nodes;
}
