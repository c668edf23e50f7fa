// @ts-check
// Renders the timeline's blocks; only changed ones are rendered again.
import { el, fill, icon, targetOf } from "./dom.js";
import { bytes, duration, msBetween, oneLine, stateChip, toolSummary } from "./format.js";
import { RovingTabindex } from "./keys.js";
import { questionBox } from "./question-box.js";
import { StreamingText } from "./streaming-text.js";

/** @import { QuestionContent, Block, BlockRange, Step, TextContent, Thought, Todos, Tool } from "./timeline-model.js" */
/** @typedef {{ item: HTMLLIElement, draw: (shown: Block) => void }} BlockElement  `draw` renders the block, or what it was at a seq. */

const SHOWN_CHARACTERS = 20_000;
const ICONS = { text: "text", thought: "thought", tool: "tool", todos: "todo", question: "waiting" };
const TONES = { failed: "failed", waiting: "warning", active: "active", succeeded: "succeeded", canceled: "stopped", "": "event" };

export class TimelineView {
  /**
   * @param {HTMLElement} list
   * @param {object} options
   * @param {string} options.runId
   * @param {(block: Block) => void} options.onWhy  Gets the block whose button was pressed, as does `onState`.
   * @param {(block: Block) => void} options.onState
   */
  constructor(list, { runId, onWhy, onState }) {
    this.list = list;
    this.runId = runId;
    /** Whether messages are shown as a program's plain output. */
    this.plainText = false;
    this.onWhy = onWhy;
    this.onState = onState;
    /** @type {Map<Block, BlockElement>} */
    this.elements = new Map();
    /** @type {Map<Block, Block>} */
    this.past = new Map();
    /** @type {string | null} */
    this.start = null;
    this.roving = new RovingTabindex(list, () => [.../** @type {NodeListOf<HTMLElement>} */ (list.querySelectorAll(":scope > [data-roving]"))], (event, item) => this.key(event, item));
    list.addEventListener("click", (event) => {
      const target = event.target instanceof Element ? event.target : list;
      const action = target.closest("[data-action]");
      const block = this.blockOf(target);
      if (action && block) (action.getAttribute("data-action") === "why" ? onWhy : onState)(block);
    });
  }

  /**
   * @param {KeyboardEvent} event
   * @param {HTMLElement} item
   */
  key(event, item) {
    const block = this.blockOf(item);
    if (event.key === "w" && block) this.onWhy(block);
    else if (event.key === "s" && block) this.onState(block);
    else if (event.key === "Enter" && targetOf(event) === item) {
      const details = item.querySelector("details");
      /** @type {HTMLElement | null} */
      const control = item.querySelector("button:not([tabindex='-1']), input");
      if (details) details.open = !details.open;
      else control?.focus();
    } else return false;
    return true;
  }

  /** @param {Element} element */
  blockOf(element) {
    const item = element.closest("li[data-roving]");
    for (const [block, rendered] of this.elements) if (rendered.item === item) return block;
    return null;
  }

  /**
   * Show these blocks.
   * @param {Block[]} blocks
   * @param {Set<Block>} changed  Those to draw again.
   * @param {string | null} start  When the stream began.
   */
  show(blocks, changed, start) {
    this.start = start;
    this.list.classList.toggle("is-long", blocks.length > 150);
    const wanted = new Set(blocks);
    for (const [block, { item }] of this.elements) if (!wanted.has(block)) { item.remove(); this.elements.delete(block); }
    let next = this.list.firstElementChild;
    for (const block of blocks) {
      let rendered = this.elements.get(block);
      if (!rendered) {
        rendered = this.createItem(block);
        this.elements.set(block, rendered);
        rendered.draw(block);
      } else if (changed.has(block)) rendered.draw(this.past.get(block) ?? block);
      if (rendered.item === next) next = next.nextElementSibling;
      else this.list.insertBefore(rendered.item, next);
    }
    this.roving.ensureCurrent();
  }

  /**
   * @param {Block} block
   * @returns {BlockElement}
   */
  createItem(block) {
    const tone = block.kind === "step" ? block.tone : "";
    const when = el("span", { class: "block-when" }), body = el("div", { class: "block-body" });
    const item = el("li", { class: `block k-${block.kind} ${tone ? `tone-${tone}` : ""}`, tabindex: "-1", data: { roving: "" }, "aria-keyshortcuts": "w s" },
      when, el("span", { class: "block-icon" }, icon(block.kind === "step" ? TONES[block.tone] : ICONS[block.kind])), body,
      el("span", { class: "block-actions" },
        el("button", { type: "button", class: "quiet", tabindex: "-1", title: "Why did this come to be? (w)", data: { action: "why" } }, "Why"),
        el("button", { type: "button", class: "quiet", tabindex: "-1", title: "The state right after this (s)", data: { action: "state" } }, "State")));
    const drawBody = this.bodyRenderer(block, item, body);
    /** @param {Block} shown */
    const draw = (shown) => {
      item.dataset.from = String(block.from);
      item.dataset.to = String(block.to);
      fill(when, el("span", { class: "block-offset" }, this.start ? `+${duration(msBetween(block.at, this.start))}` : ""), el("span", { class: "block-seq" }, block.from === block.to ? `#${block.from}` : `#${block.from}–${block.to}`));
      drawBody(shown);
    };
    return { item, draw };
  }

  /**
   * Prepares a block's body; returns the function that renders the block, or what it was at a seq.
   * @param {Block} block
   * @param {HTMLLIElement} item
   * @param {HTMLElement} body
   */
  bodyRenderer(block, item, body) {
    const render = () => {
      switch (block.kind) {
        case "text": return textRenderer(block, item, body, this.plainText);
        case "thought": return thoughtRenderer(body);
        case "tool": return toolRenderer(block, body);
        case "todos": return (/** @type {Todos} */ shown) => drawTodos(shown, body);
        case "question": return questionRenderer(block, body, this.runId);
        case "step": return (/** @type {Step} */ shown) => drawStep(shown, item, body);
      }
    };
    return /** @type {(shown: Block) => void} */ (render());
  }

  /**
   * Mark the block of `seq` as current and those after it as later; null: live, nothing is marked.
   * @param {number | null} seq
   * @param {Map<Block, Block>} past  Of blocks that had not got all their events by then: what they were.
   */
  mark(seq, past) {
    const redrawn = new Set([...this.past.keys(), ...past.keys()]);
    this.past = past;
    for (const block of redrawn) this.elements.get(block)?.draw(past.get(block) ?? block);
    for (const [block, { item }] of this.elements) {
      item.classList.toggle("is-later", seq !== null && block.from > seq);
      const here = seq !== null && containsSeq(block, seq);
      item.classList.toggle("is-here", here);
      if (here) item.setAttribute("aria-current", "true");
      else item.removeAttribute("aria-current");
    }
  }

  /** @param {number} seq */
  itemAt(seq) {
    for (const [block, { item }] of this.elements) if (containsSeq(block, seq)) return item;
    return null;
  }
}

/**
 * Whether the event of this seq belongs to the block.
 * @param {BlockRange} block
 * @param {number} seq
 */
const containsSeq = (block, seq) => (block.from <= seq && seq <= block.to) || block.endSeq === seq;

/**
 * @param {TextContent} block
 * @param {HTMLLIElement} item
 * @param {HTMLElement} body
 * @param {boolean} plainText
 */
function textRenderer(block, item, body, plainText) {
  const text = new StreamingText({ plain: plainText || block.channel === "stderr" });
  body.append(text.element);
  item.dataset.channel = block.channel;
  let before = block;
  return (/** @type {TextContent} */ shown) => {
    text.show(shown.text, shown.rewritten || shown !== before);
    shown.rewritten = false;
    before = shown;
  };
}

/** @param {HTMLElement} body */
function thoughtRenderer(body) {
  const text = new StreamingText({ plain: false });
  const preview = el("span", { class: "soft one-line" });
  body.append(el("details", {}, el("summary", { tabindex: "-1" }, el("strong", {}, "Reasoning"), preview), text.element));
  return (/** @type {Thought} */ shown) => {
    preview.textContent = oneLine(shown.text.slice(-200), 120);
    text.show(shown.text);
  };
}

/**
 * @param {Tool} block
 * @param {HTMLElement} body
 */
function toolRenderer(block, body) {
  const summary = el("summary", { tabindex: "-1" }), inside = el("div", { class: "tool-inside" });
  const details = el("details", {}, summary, inside);
  details.addEventListener("toggle", () => { if (details.open) fill(inside, toolInside(last)); });
  body.append(details);
  let last = block;
  return (/** @type {Tool} */ shown) => {
    last = shown;
    const state = !shown.ended ? el("span", { class: "is-active tool-state" }, icon("active"), "running") : shown.ok
      ? el("span", { class: "is-succeeded tool-state" }, icon("succeeded"), el("span", {}, duration(shown.durationMs) || "done"))
      : el("span", { class: "is-failed tool-state" }, icon("failed"), el("span", {}, `failed ${duration(shown.durationMs)}`));
    fill(summary, icon("chevron"), el("strong", { class: "tool-name" }, shown.name || "tool"), el("span", { class: "tool-input one-line" }, toolSummary(shown.input)), state);
    if (details.open) fill(inside, toolInside(shown));
  };
}

/**
 * @param {Todos} block
 * @param {HTMLElement} body
 */
function drawTodos(block, body) {
  const latest = new Map(block.changes.map((change) => [change.todoId, change]));
  fill(body, el("ul", { class: "todo-changes" }, [...latest.values()].map((todo) => todoItem(todo))));
}

/**
 * @param {QuestionContent} block
 * @param {HTMLElement} body
 * @param {string} runId
 */
function questionRenderer(block, body, runId) {
  const { box, update } = questionBox(runId);
  body.append(box);
  return (/** @type {QuestionContent} */ shown) => update(shown.question, { past: shown !== block });
}

/**
 * @param {Step} block
 * @param {HTMLLIElement} item
 * @param {HTMLElement} body
 */
function drawStep(block, item, body) {
  fill(body, el("span", { class: "step-title" }, block.title), block.detail ? el("span", { class: "step-detail" }, block.detail) : null);
  item.title = block.type;
}

/**
 * One todo.
 * @param {Pick<EventPayloads.Todo, "content" | "status">} todo
 */
export function todoItem(todo) {
  const status = todo.status ?? "todo";
  const kind = { done: "succeeded", doing: "active", canceled: "stopped", todo: "queued" }[status];
  return el("li", { class: `todo todo-${status} is-${kind}`, data: { status } }, el("span", { class: "todo-box" }, status === "todo" ? null : icon(kind)), el("span", { class: "todo-text" }, todo.content), el("span", { class: status === "doing" ? "todo-status" : "unseen" }, { todo: "to do", doing: "doing", done: "done", canceled: "canceled" }[status]));
}

/** @param {unknown} content */
const isNothing = (content) => content === undefined || content === null || content === "";

/** @param {Tool} block */
function toolInside(block) {
  const parts = [];
  if (!isNothing(block.input)) parts.push(el("h4", {}, "Input"), value(block.input));
  if (block.outputRef) parts.push(el("h4", {}, "Output"), el("p", { class: "soft" }, `${bytes(block.outputRef.size)}, in the object store: `, el("code", {}, block.outputRef.key)));
  else if (block.ended) parts.push(el("h4", {}, "Output"), isNothing(block.output) ? el("p", { class: "soft" }, "None.") : value(block.output));
  else parts.push(stateChip("running"));
  return parts;
}

/** @param {unknown} content */
function value(content) {
  if (typeof content !== "object" || content === null) return longText(String(content));
  const fields = Object.entries(content);
  const flat = !Array.isArray(content) && fields.length && fields.every(([, each]) => typeof each !== "object" || each === null);
  if (!flat) return longText(JSON.stringify(content, null, 2));
  return el("dl", { class: "fields" }, fields.map(([name, each]) => [el("dt", {}, name), el("dd", {}, longText(String(each)))]));
}

/** @param {string} text */
function longText(text) {
  const pre = el("pre", {}, text.slice(0, SHOWN_CHARACTERS));
  if (text.length <= SHOWN_CHARACTERS) return pre;
  const more = el("button", { type: "button", on: { click: () => { pre.textContent = text; more.remove(); } } }, `Show all ${bytes(text.length)}`);
  return el("div", {}, pre, more);
}
