// The state beside the timeline: as it is, or as it was at a seq; and what changed up to there.
import { get } from "./api.js";
import { diffView } from "./diff-view.js";
import { el, fill } from "./dom.js";
import { todoItem } from "./timeline-view.js";
import { ago, brief, duration, money, number, sessionChip, since, stateChip } from "./words.js";

const CACHED = 200, DEBOUNCE_MS = 120;

export class Inspector {
  /** `kind` is run or session. `linkTo(seq)`: the address of an event of this stream. `onInfo` hears the live state. */
  constructor({ kind, id, linkTo, onInfo }) {
    Object.assign(this, { kind, id, linkTo, onInfo, cache: new Map(), mark: null, asked: 0, seq: null, end: 0 });
    this.path = kind === "run" ? `api/runs/${id}` : `api/session-workers/${id}`;
    this.title = el("h2", { id: "state-title" }, "State now");
    this.problem = el("p", { class: "wrong", role: "alert", hidden: true });
    this.state = el("div", { class: "state", "aria-live": "off" });
    this.compare = el("select", { id: "compare", "aria-label": "Compare with", on: { change: () => this.refresh() } });
    this.markButton = el("button", { type: "button", class: "quiet", on: { click: () => this.setMark() }, title: "Compare other events with this one" }, "Mark");
    this.changes = el("div", { class: "diff" });
    this.element = el("aside", { class: "inspector", "aria-labelledby": "state-title" },
      this.title, this.problem, this.state,
      el("div", { class: "diff-head" }, el("h2", {}, "Changes"), el("label", { class: "soft", for: "compare" }, "since"), this.compare, this.markButton), this.changes);
    this.offer();
  }

  offer() {
    const chosen = this.compare.value || "previous";
    const options = [["previous", "the event before"], ["start", "the beginning"]];
    if (this.mark !== null) options.push(["mark", `event ${this.mark}`]);
    fill(this.compare, options.map(([value, text]) => el("option", { value }, text)));
    this.compare.value = chosen;
  }

  setMark() {
    this.mark = this.seq ?? this.end;
    this.offer();
    this.compare.value = "mark";
    this.refresh();
  }

  /** The state at `seq`; null: now, which is at `end` of the stream and `position` of the log. */
  show(seq, end, position) {
    if (this.closed) return;
    Object.assign(this, { seq, end, position });
    this.title.textContent = seq === null ? "State now" : `State after event ${seq}`;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.refresh(), seq === null ? 0 : DEBOUNCE_MS);
  }

  close() { this.closed = true; clearTimeout(this.timer); this.reading?.abort(); }

  async refresh() {
    const asked = (this.asked += 1);
    this.element.setAttribute("aria-busy", "true");
    this.reading?.abort();
    const reading = this.reading = new AbortController();
    const to = this.seq ?? this.end;
    const from = { previous: to - 1, start: 0, mark: this.mark }[this.compare.value] ?? to - 1;
    try {
      const [state, difference] = await Promise.all([
        this.read(this.seq, reading.signal),
        to > 0 ? get(`${this.path}/diff`, { from: Math.min(from, to), to: Math.max(from, to) }, reading.signal).catch((error) => { if (error.name === "AbortError") throw error; return error; }) : null,
      ]);
      if (asked !== this.asked) return;
      this.problem.hidden = true;
      if (this.seq === null) this.onInfo(state.info);
      this.draw(state);
      fill(this.changes, difference instanceof Error ? el("p", { class: "hint" }, difference.message) : difference ? diffView(difference, this.linkTo) : null);
      this.element.dataset.seq = String(this.seq ?? state.info.seq);
      this.element.removeAttribute("aria-busy");
    } catch (error) {
      if (error.name === "AbortError" || asked !== this.asked) return;
      this.element.removeAttribute("aria-busy");
      this.problem.hidden = false;
      this.problem.textContent = error.message;
    }
  }

  /** `{info, todos, questions}` at a seq, from memory where it was read before: the past does not change. */
  async read(seq, signal) {
    if (seq !== null && this.cache.has(seq)) return this.cache.get(seq);
    const at = seq === null ? { minPosition: this.position } : { atSeq: seq };
    const [info, todos, asked] = await Promise.all([
      get(this.path, at, signal),
      this.kind === "run" ? get(`${this.path}/todos`, at, signal) : null,
      this.kind === "run" ? get("api/human-loop/requests", { runId: this.id, limit: 20, ...at }, signal) : null,
    ]);
    const state = { info, todos: todos?.items ?? [], questions: asked?.requests ?? [] };
    if (seq !== null) {
      if (this.cache.size >= CACHED) this.cache.delete(this.cache.keys().next().value);
      this.cache.set(seq, state);
    }
    return state;
  }

  draw({ info, todos, questions }) {
    const open = this.state.querySelector("details.raw")?.open ?? false;
    const done = todos.filter((todo) => todo.status === "done").length;
    fill(this.state,
      facts(this.kind === "run" ? runFacts(info) : sessionFacts(info)),
      todos.length ? [el("h3", {}, "Todos", el("span", { class: "count" }, `${done} of ${todos.length}`)), el("progress", { max: todos.length, value: done, "aria-label": "Todos done" }), el("ul", { class: "todos" }, todos.map(todoItem))] : null,
      questions.length ? [el("h3", {}, "Questions"), el("ul", { class: "asked" }, questions.map((question) => el("li", {}, stateChip(question.status), el("span", {}, brief(question.prompt, 120)))))] : null,
      info.text ? el("details", { class: "said" }, el("summary", {}, "Last message"), el("pre", {}, info.text)) : null,
      el("details", { class: "raw", open }, el("summary", {}, "All fields"), el("pre", { data: { json: "state" } }, JSON.stringify(info, null, 2))));
  }
}

function facts(pairs) {
  return el("dl", { class: "facts" }, pairs.filter(([, value]) => value !== "" && value !== null && value !== undefined).map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

function runFacts(run) {
  const { tools, usage } = run;
  return [
    ["State", stateChip(run.state)],
    ["Why blocked", run.blockedReason],
    ["Error", run.error ? `${run.error.message} (${run.error.errorClass})` : ""],
    ["Provider", [run.provider || "outside", run.model].filter(Boolean).join(" · ")],
    ["Attempt", run.attempt ? `${run.attempt} of ${run.maxAttempts}` : ""],
    ["Ran for", run.startedAt && run.finishedAt ? duration(since(run.finishedAt, run.startedAt)) : ""],
    ["Tools", tools.started ? `${tools.finished} of ${tools.started} ended${tools.failed ? `, ${tools.failed} failed` : ""}` : ""],
    ["Messages", run.messages ? number(run.messages) : ""],
    ["Tokens", usage.inputTokens + usage.outputTokens ? `${number(usage.inputTokens)} in, ${number(usage.outputTokens)} out` : ""],
    ["Cost", money(usage.costUsd)],
    ["Workspace", run.exported ? "stored" : ""],
    ["Warnings", run.warnings.length ? el("ul", { class: "plain" }, run.warnings.map((each) => el("li", {}, each.message))) : ""],
  ];
}

function sessionFacts(session) {
  return [
    ["State", sessionChip(session)],
    ["Error", session.lastError],
    ["Run", session.attachedRunId ? el("a", { href: `#/runs/${encodeURIComponent(session.attachedRunId)}` }, session.attachedRunId) : ""],
    ["Generation", session.generation],
    ["Runtime", session.runtime ?? ""],
    ["Last sync", session.lastSyncAt ? [session.lastSyncStatus, ", ", ago(session.lastSyncAt)] : session.lastSyncStatus],
    ["Sync error", session.lastSyncError],
    ["Active", ago(session.lastActiveAt)],
    ["Workspace", el("code", {}, session.workspacePrefix)],
  ];
}
