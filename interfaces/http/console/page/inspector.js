// @ts-check
// The inspector beside the timeline: the state now or at a seq, and its changes since another seq.
import { get, isAborted, messageOf } from "./api.js";
import { diffView } from "./diff-view.js";
import { el, fill } from "./dom.js";
import { ago, duration, money, msBetween, number, oneLine, sessionChip, stateChip } from "./format.js";
import { todoItem } from "./timeline-view.js";

/** @import { Child } from "./dom.js" */
/** @typedef {Api.RunRead | Api.WorkerRead} Info */
/** @typedef {{ info: Info, todos: Api.TodoView[], leftOut: number, questions: Api.HumanLoopRequest[] }} State */

const CACHED = 200, DEBOUNCE_MS = 120;

export class Inspector {
  /**
   * @param {object} options
   * @param {"run" | "session"} options.kind
   * @param {string} options.id
   * @param {(seq: number) => string} options.linkTo  The URL of an event of this stream.
   * @param {(info: Info) => void} options.onInfo  Called with the live state.
   */
  constructor({ kind, id, linkTo, onInfo }) {
    this.kind = kind;
    this.id = id;
    this.linkTo = linkTo;
    this.onInfo = onInfo;
    /** @type {Map<number, State>} */
    this.cache = new Map();
    /** @type {number | null} */
    this.mark = null;
    this.latestRequest = 0;
    /** @type {number | null} */
    this.seq = null;
    this.end = 0;
    this.position = 0;
    this.closed = false;
    this.timer = 0;
    /** @type {AbortController | null} */
    this.reading = null;
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
    this.showCompareOptions();
  }

  showCompareOptions() {
    const chosen = this.compare.value || "previous";
    const options = [["previous", "the event before"], ["start", "the beginning"]];
    if (this.mark !== null) options.push(["mark", `event ${this.mark}`]);
    fill(this.compare, options.map(([value, text]) => el("option", { value }, text)));
    this.compare.value = chosen;
  }

  setMark() {
    this.mark = this.seq ?? this.end;
    this.showCompareOptions();
    this.compare.value = "mark";
    this.refresh();
  }

  /**
   * Show the state at `seq`; null: now, at seq `end` and at `position` of the log.
   * @param {number | null} seq
   * @param {number} end
   * @param {number} position
   */
  show(seq, end, position) {
    if (this.closed) return;
    this.seq = seq;
    this.end = end;
    this.position = position;
    this.title.textContent = seq === null ? "State now" : `State after event ${seq}`;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.refresh(), seq === null ? 0 : DEBOUNCE_MS);
  }

  close() { this.closed = true; clearTimeout(this.timer); this.reading?.abort(); }

  async refresh() {
    this.latestRequest += 1;
    const request = this.latestRequest;
    this.element.setAttribute("aria-busy", "true");
    this.reading?.abort();
    const reading = new AbortController();
    this.reading = reading;
    const seq = this.seq; // another one may be asked for before the answers are here
    const to = seq ?? this.end;
    const from = (this.compare.value === "start" ? 0 : this.compare.value === "mark" ? this.mark : null) ?? to - 1;
    try {
      const [state, difference] = await Promise.all([
        this.read(seq, reading.signal),
        to > 0 ? this.difference(Math.min(from, to), Math.max(from, to), reading.signal) : null,
      ]);
      if (request !== this.latestRequest) return;
      this.problem.hidden = true;
      if (seq === null) this.onInfo(state.info);
      this.draw(state);
      fill(this.changes, difference instanceof Error ? el("p", { class: "hint" }, difference.message) : difference ? diffView(difference, this.linkTo) : null);
      this.element.dataset.seq = String(seq ?? state.info.seq);
      this.element.removeAttribute("aria-busy");
    } catch (error) {
      if (isAborted(error) || request !== this.latestRequest) return;
      this.element.removeAttribute("aria-busy");
      this.problem.hidden = false;
      this.problem.textContent = messageOf(error);
    }
  }

  /**
   * The difference between two seqs, or the error that the API answered.
   * @param {number} from
   * @param {number} to
   * @param {AbortSignal} signal
   * @returns {Promise<Api.Difference | Error>}
   */
  async difference(from, to, signal) {
    try {
      return await get(`${this.path}/diff`, { from, to }, signal);
    } catch (error) {
      if (isAborted(error) || !(error instanceof Error)) throw error;
      return error;
    }
  }

  /**
   * The state at a seq (null: now). Past states never change, so they are cached.
   * @param {number | null} seq
   * @param {AbortSignal} signal
   * @returns {Promise<State>}
   */
  async read(seq, signal) {
    const known = seq === null ? undefined : this.cache.get(seq);
    if (known) return known;
    const at = seq === null ? { minPosition: this.position } : { atSeq: seq };
    /** @type {[Promise<Info>, Promise<Api.TodoListRead> | null, Promise<Api.HumanLoopRequests> | null]} */
    const reads = [
      get(this.path, at, signal),
      this.kind === "run" ? get(`${this.path}/todos`, at, signal) : null,
      this.kind === "run" ? get("api/human-loop/requests", { runId: this.id, limit: 20, ...at }, signal) : null,
    ];
    const [info, todos, asked] = await Promise.all(reads);
    const state = { info, todos: todos?.items ?? [], leftOut: todos?.leftOut ?? 0, questions: asked?.requests ?? [] };
    if (seq !== null) {
      const [oldest] = this.cache.keys();
      if (this.cache.size >= CACHED) this.cache.delete(oldest);
      this.cache.set(seq, state);
    }
    return state;
  }

  /** @param {State} state */
  draw({ info, todos, leftOut, questions }) {
    const open = this.state.querySelector("details.raw")?.hasAttribute("open") ?? false;
    const said = "text" in info ? info.text : "";
    const done = todos.filter((todo) => todo.status === "done").length;
    fill(this.state,
      facts("runId" in info ? runFacts(info) : sessionFacts(info)),
      todos.length ? [el("h3", {}, "Todos", el("span", { class: "count" }, `${done} of ${todos.length}`)), el("progress", { max: todos.length, value: done, "aria-label": "Todos done" }), el("ul", { class: "todos" }, todos.map(todoItem)), leftOut ? el("p", { class: "hint" }, `${leftOut} more found no room in this list: the run has its most todos.`) : null] : null,
      questions.length ? [el("h3", {}, "Questions"), el("ul", { class: "asked" }, questions.map((question) => el("li", {}, stateChip(question.status), el("span", {}, oneLine(question.prompt, 120)))))] : null,
      said ? el("details", { class: "said" }, el("summary", {}, "Last message"), el("pre", {}, said)) : null,
      el("details", { class: "raw", open }, el("summary", {}, "All fields"), el("pre", { data: { json: "state" } }, JSON.stringify(info, null, 2))));
  }
}

/** @param {[string, Child][]} pairs */
function facts(pairs) {
  return el("dl", { class: "facts" }, pairs.filter(([, value]) => value !== "" && value !== null && value !== undefined).map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

/**
 * @param {Api.RunRead} run
 * @returns {[string, Child][]}
 */
function runFacts(run) {
  const { tools, usage } = run;
  return [
    ["State", stateChip(run.state)],
    ["Why blocked", run.blockedReason],
    ["Error", run.error ? `${run.error.message} (${run.error.errorClass})` : ""],
    ["Provider", [run.provider || "outside", run.model].filter(Boolean).join(" · ")],
    ["Attempt", run.attempt ? `${run.attempt} of ${run.maxAttempts}` : ""],
    ["Ran for", run.startedAt && run.finishedAt ? duration(msBetween(run.finishedAt, run.startedAt)) : ""],
    ["Tools", tools.started ? `${tools.finished} of ${tools.started} ended${tools.failed ? `, ${tools.failed} failed` : ""}` : ""],
    ["Messages", run.messages ? number(run.messages) : ""],
    ["Tokens", usage.inputTokens + usage.outputTokens ? `${number(usage.inputTokens)} in, ${number(usage.outputTokens)} out` : ""],
    ["Cost", money(usage.costUsd)],
    ["Workspace", run.exported ? "stored" : ""],
    ["Warnings", run.warnings.length ? el("ul", { class: "plain" }, run.warnings.map((each) => el("li", {}, each.message))) : ""],
  ];
}

/**
 * @param {Api.WorkerRead} session
 * @returns {[string, Child][]}
 */
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
