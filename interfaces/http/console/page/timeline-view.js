// The blocks of a timeline as elements, drawn again only where a block has changed.
import { el, fill, icon } from "./dom.js";
import { Roving } from "./keys.js";
import { Prose } from "./prose.js";
import { questionBox } from "./question-box.js";
import { brief, bytes, duration, since, stateChip, toolSummary } from "./words.js";

const SHOWN_CHARACTERS = 20_000;
const ICONS = { text: "text", thought: "thought", tool: "tool", todos: "todo", question: "waiting" };
const TONES = { failed: "failed", waiting: "warning", active: "active", succeeded: "succeeded", canceled: "stopped" };

export class TimelineView {
  /** `plainText`: messages are a program's output. `onWhy` and `onState` get the block that a person pointed at. */
  constructor(list, { runId, plainText, onWhy, onState }) {
    Object.assign(this, { list, runId, plainText, onWhy, onState, drawn: new Map(), start: null });
    this.roving = new Roving(list, () => [...list.querySelectorAll(":scope > [data-roving]")], (event, item) => this.key(event, item));
    list.addEventListener("click", (event) => {
      const action = event.target.closest("[data-action]");
      const block = this.blockOf(event.target);
      if (action && block) (action.dataset.action === "why" ? onWhy : onState)(block);
    });
  }

  key(event, item) {
    const block = this.blockOf(item);
    if (event.key === "w") this.onWhy(block);
    else if (event.key === "s") this.onState(block);
    else if (event.key === "Enter" && event.target === item) {
      const details = item.querySelector("details");
      if (details) details.open = !details.open;
      else item.querySelector("button:not([tabindex='-1']), input")?.focus();
    } else return false;
    return true;
  }

  blockOf(element) {
    const item = element.closest("li[data-roving]");
    for (const [block, made] of this.drawn) if (made.item === item) return block;
    return null;
  }

  /** Show these blocks; `changed` are those to draw again. */
  show(blocks, changed, start) {
    this.start = start;
    this.list.classList.toggle("is-long", blocks.length > 150);
    const wanted = new Set(blocks);
    for (const [block, made] of this.drawn) if (!wanted.has(block)) { made.item.remove(); this.drawn.delete(block); }
    let place = this.list.firstElementChild;
    for (const block of blocks) {
      let made = this.drawn.get(block);
      if (!made) {
        made = this.made(block);
        this.drawn.set(block, made);
        this.update(block, made);
      } else if (changed.has(block)) this.update(block, made);
      if (made.item === place) place = place.nextElementSibling;
      else this.list.insertBefore(made.item, place);
    }
    this.roving.settle();
  }

  made(block) {
    const body = el("div", { class: "block-body" });
    const tone = block.kind === "step" ? TONES[block.tone] : "";
    const item = el("li", { class: `block k-${block.kind} ${block.tone ? `tone-${block.tone}` : ""}`, tabindex: "-1", data: { roving: "" }, "aria-keyshortcuts": "w s" },
      el("span", { class: "block-when" }), el("span", { class: "block-icon" }, icon(block.kind === "step" ? tone || "event" : ICONS[block.kind])), body,
      el("span", { class: "block-actions" },
        el("button", { type: "button", class: "quiet", tabindex: "-1", title: "Why did this come to be? (w)", data: { action: "why" } }, "Why"),
        el("button", { type: "button", class: "quiet", tabindex: "-1", title: "The state right after this (s)", data: { action: "state" } }, "State")));
    return { item, body, parts: null };
  }

  update(block, made) {
    made.item.dataset.from = block.from;
    made.item.dataset.to = block.to;
    fill(made.item.firstElementChild, el("span", { class: "block-offset" }, this.start ? `+${duration(since(block.at, this.start))}` : ""), el("span", { class: "block-seq" }, block.from === block.to ? `#${block.from}` : `#${block.from}–${block.to}`));
    this[block.kind](block, made);
  }

  text(block, made) {
    made.parts ??= new Prose({ plain: this.plainText || block.channel === "stderr" });
    if (!made.parts.element.isConnected) made.body.append(made.parts.element);
    made.item.dataset.channel = block.channel;
    made.parts.show(block.text, block.rewritten);
    block.rewritten = false;
  }

  thought(block, made) {
    if (!made.parts) {
      made.parts = new Prose({ plain: false });
      made.preview = el("span", { class: "soft one-line" });
      made.body.append(el("details", {}, el("summary", { tabindex: "-1" }, el("strong", {}, "Reasoning"), made.preview), made.parts.element));
    }
    made.preview.textContent = brief(block.text.slice(-200), 120);
    made.parts.show(block.text);
  }

  tool(block, made) {
    if (!made.parts) {
      const details = el("details", {}, el("summary", { tabindex: "-1" }));
      const inside = el("div", { class: "tool-inside" });
      details.append(inside);
      details.addEventListener("toggle", () => { if (details.open) fill(inside, toolInside(block)); });
      made.parts = { details, inside };
      made.body.append(details);
    }
    const { details, inside } = made.parts;
    const state = !block.ended ? el("span", { class: "is-active tool-state" }, icon("active"), "running") : block.ok
      ? el("span", { class: "is-succeeded tool-state" }, icon("succeeded"), el("span", {}, duration(block.durationMs) || "done"))
      : el("span", { class: "is-failed tool-state" }, icon("failed"), el("span", {}, `failed ${duration(block.durationMs)}`));
    fill(details.firstElementChild, icon("chevron"), el("strong", { class: "tool-name" }, block.name || "tool"), el("span", { class: "tool-input one-line" }, toolSummary(block.input)), state);
    if (details.open) fill(inside, toolInside(block));
  }

  todos(block, made) {
    const latest = new Map();
    for (const change of block.changes) latest.set(change.todoId, change);
    fill(made.body, el("ul", { class: "todo-changes" }, [...latest.values()].map((todo) => todoItem(todo))));
  }

  question(block, made) {
    if (!made.parts) { made.parts = questionBox(this.runId); made.body.append(made.parts.box); }
    made.parts.update(block.question);
  }

  step(block, made) {
    fill(made.body, el("span", { class: "step-title" }, block.title), block.detail ? el("span", { class: "step-detail" }, block.detail) : null);
    made.item.title = block.type;
  }

  /** Show what is after `seq` as not yet come, and where it is; null: everything has. */
  mark(seq) {
    for (const [block, { item }] of this.drawn) {
      item.classList.toggle("is-later", seq !== null && block.from > seq);
      const here = seq !== null && isAt(block, seq);
      item.classList.toggle("is-here", here);
      if (here) item.setAttribute("aria-current", "true");
      else item.removeAttribute("aria-current");
    }
  }

  itemAt(seq) {
    for (const [block, { item }] of this.drawn) if (isAt(block, seq)) return item;
    return null;
  }
}

/** Whether the event of this seq is one of the block's: of those in a row, or the end of what it began. */
const isAt = (block, seq) => (block.from <= seq && seq <= block.to) || block.endSeq === seq;

/** An entry of a todo list: `{content, status}`. */
export function todoItem(todo) {
  const status = todo.status ?? "todo";
  const kind = { done: "succeeded", doing: "active", canceled: "stopped", todo: "queued" }[status];
  return el("li", { class: `todo todo-${status} is-${kind}`, data: { status } }, el("span", { class: "todo-box" }, status === "todo" ? null : icon(kind)), el("span", { class: "todo-text" }, todo.content), el("span", { class: status === "doing" ? "todo-status" : "unseen" }, { todo: "to do", doing: "doing", done: "done", canceled: "canceled" }[status]));
}

function toolInside(block) {
  const parts = [];
  if (block.input !== undefined && block.input !== null && block.input !== "") parts.push(el("h4", {}, "Input"), value(block.input));
  if (block.outputRef) parts.push(el("h4", {}, "Output"), el("p", { class: "soft" }, `${bytes(block.outputRef.size)}, in the object store: `, el("code", {}, block.outputRef.key)));
  else if (block.ended) parts.push(el("h4", {}, "Output"), block.output === undefined || block.output === null || block.output === "" ? el("p", { class: "soft" }, "None.") : value(block.output));
  else parts.push(stateChip("running"));
  return parts;
}

function value(content) {
  if (typeof content !== "object") return longText(String(content));
  const fields = Object.entries(content);
  const flat = !Array.isArray(content) && fields.length && fields.every(([, each]) => typeof each !== "object" || each === null);
  if (!flat) return longText(JSON.stringify(content, null, 2));
  return el("dl", { class: "fields" }, fields.map(([name, each]) => [el("dt", {}, name), el("dd", {}, longText(String(each)))]));
}

function longText(text) {
  const pre = el("pre", {}, text.slice(0, SHOWN_CHARACTERS));
  if (text.length <= SHOWN_CHARACTERS) return pre;
  const more = el("button", { type: "button", on: { click: () => { pre.textContent = text; more.remove(); } } }, `Show all ${bytes(text.length)}`);
  return el("div", {}, pre, more);
}
