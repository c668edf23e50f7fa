// @ts-check
// Text that is streamed: messages with paragraphs, code and emphasis, or the plain output of a program; text nodes only.
import { el, fill } from "./dom.js";
import { withoutEscapes } from "./format.js";

const PLAIN_CHUNK = 4000;

/** An element for a text that grows; `show(text)` renders only what was added, where possible. */
export class StreamingText {
  /** @param {{ plain: boolean }} options  plain: the output of a program. */
  constructor({ plain }) {
    this.plain = plain;
    this.element = el("div", { class: plain ? "output" : "prose" });
    this.tail = el("div", { class: "tail" });
    this.element.append(this.tail);
    this.seen = 0;
    this.rest = "";
  }

  /**
   * @param {string} text
   * @param {boolean} [rewritten]  Whether more than its end has changed: then all is rendered again.
   */
  show(text, rewritten = false) {
    if (rewritten || text.length < this.seen) {
      for (const part of [...this.element.children]) if (part !== this.tail) part.remove();
      this.rest = "";
      this.seen = 0;
    }
    if (text.length === this.seen) return;
    this.rest += text.slice(this.seen);
    this.seen = text.length;
    for (let end = this.finalLength(); end > 0; end = this.finalLength()) {
      const part = el("div", { class: "part" });
      this.draw(part, this.rest.slice(0, end));
      this.tail.before(part);
      this.rest = this.rest.slice(end);
    }
    this.draw(this.tail, this.rest);
  }

  /** The length of the next part that can no longer change: a whole paragraph, code block, or chunk of output; 0 if none. */
  finalLength() {
    if (this.plain) {
      if (this.rest.length < PLAIN_CHUNK) return 0;
      const line = this.rest.indexOf("\n", PLAIN_CHUNK / 2);
      return line > 0 ? line + 1 : this.rest.length > 4 * PLAIN_CHUNK ? this.rest.length : 0;
    }
    const fence = this.rest.match(/^```[^\n]*\n[\s\S]*?\n```[^\S\n]*\n/);
    if (fence) return fence[0].length;
    if (this.rest.startsWith("```")) return 0;
    const gap = this.rest.search(/\n\s*\n|\n(?=```)/);
    return gap < 0 ? 0 : gap + 1;
  }

  /**
   * @param {Element} element
   * @param {string} text
   */
  draw(element, text) {
    if (this.plain) { fill(element, el("pre", {}, withoutEscapes(text))); return; }
    fill(element);
    for (const [, fenced, words] of text.matchAll(/```[^\n]*\n([\s\S]*?)(?:\n```|$)|((?:(?!\n?```)[\s\S])+)/g)) {
      if (fenced !== undefined) element.append(el("pre", { class: "code" }, fenced));
      else for (const paragraph of (words ?? "").split(/\n\s*\n/)) if (paragraph.trim()) element.append(paragraphElement(paragraph.replace(/^\n+|\s+$/g, "")));
    }
  }
}

/** @param {string} paragraph */
function paragraphElement(paragraph) {
  const heading = paragraph.match(/^#{1,6} (.+)$/);
  if (heading) return el("p", { class: "heading" }, inline(heading[1]));
  return el("p", {}, inline(paragraph));
}

/**
 * A paragraph's text with `code` and **strong** rendered.
 * @param {string} text
 */
function inline(text) {
  return text.split(/(`[^`\n]+`|\*\*[^*\n]+\*\*)/).map((part) => {
    if (part.length > 2 && part.startsWith("`") && part.endsWith("`")) return el("code", {}, part.slice(1, -1));
    if (part.length > 4 && part.startsWith("**") && part.endsWith("**")) return el("strong", {}, part.slice(2, -2));
    return part;
  });
}
