// @ts-check
// The sidebar: live lists of runs and sessions.
import { el, fill, oncePerFrame } from "./dom.js";
import { Feed } from "./feed.js";
import { ago, kindOf, sessionChip, stateChip, usageText } from "./format.js";
import { RovingTabindex } from "./keys.js";
import { LiveList } from "./live-list.js";

/** @import { ConnectionState } from "./feed.js" */
/** @typedef {"runs" | "sessions"} ListKind */
/** @typedef {Api.RunSummary | Api.SessionWorkerView} Item */
/** @typedef {{ item: HTMLLIElement, link: HTMLAnchorElement, text: string }} Row */

const KINDS = {
  runs: { path: "api/runs", stream: "run:", title: "Runs", empty: "No runs yet. Start one: POST /api/runs/start",
    states: ["queued", "running", "waiting_human", "succeeded", "failed", "canceled", "blocked"] },
  sessions: { path: "api/session-workers", stream: "session:", title: "Sessions", empty: "No sessions yet.",
    states: ["running", "stopped", "deleted"] },
};
// The event types that change a row. Those of agents' output, which are many, do not.
const ROW_EVENT_TYPES = [
  "run.queued", "run.bound", "run.blocked", "run.warning", "run.claimed", "run.retry_scheduled", "run.phase", "run.started", "tool.start",
  "human_loop.requested", "human_loop.reply_accepted", "human_loop.resolved", "human_loop.canceled", "human_loop.expired",
  "run.cancel_requested", "run.agent_finished", "run.syncing", "run.exported", "run.finished",
  "session.activation_requested", "session.reactivation_requested", "session.activated", "session.activation_failed", "session.touched",
  "session.run_attached", "session.run_detached", "session.sync_requested", "session.synced", "session.sync_failed", "session.stop_requested",
  "session.stop_canceled", "session.stopping", "session.stopped", "session.remove_requested", "session.remove_canceled", "session.removing",
  "session.removed", "session.container_lost", "session.forked", "session.workspace_copied", "session.fork_failed",
];

export class Sidebar {
  /**
   * @param {HTMLElement} nav
   * @param {object} options
   * @param {(events: LogEvent[]) => void} options.onEvents  Gets each batch of the feed.
   * @param {(state: ConnectionState) => void} options.onState  Gets the state of the connection.
   */
  constructor(nav, { onEvents, onState }) {
    this.onEvents = onEvents;
    this.onState = onState;
    /** @type {ListKind | ""} */
    this.kind = "";
    this.state = "";
    /** @type {Map<string, Row>} */
    this.rows = new Map();
    this.selected = "";
    /** @type {LiveList<Item> | null} */
    this.live = null;
    /** @type {Feed | null} */
    this.feed = null;
    this.draw = oncePerFrame(() => this.show());
    this.tabs = Object.entries(KINDS).map(([kind, { title }]) => el("a", { href: `#/${kind}`, class: "tab", data: { kind } }, title));
    this.filter = el("select", { id: "state-filter", "aria-label": "State", on: { change: () => { if (this.kind) this.open(this.kind, this.filter.value); } } });
    this.list = el("ul", { class: "rows" });
    this.hint = el("p", { class: "hint", hidden: true });
    this.more = el("button", { type: "button", class: "more", hidden: true, on: { click: () => this.live?.loadMore() } }, "Show older");
    nav.append(el("div", { class: "side-head" }, el("div", { class: "tabs" }, this.tabs), this.filter), this.list, this.hint, this.more);
    this.roving = new RovingTabindex(this.list, () => [.../** @type {NodeListOf<HTMLElement>} */ (this.list.querySelectorAll("[data-roving]"))]);
  }

  /**
   * Show runs or sessions, of one state or ("") of all.
   * @param {ListKind} kind
   */
  async open(kind, state = "") {
    if (this.kind === kind && this.state === state) return;
    const spec = KINDS[kind];
    if (this.kind !== kind) fill(this.filter, el("option", { value: "" }, "All states"), spec.states.map((each) => el("option", { value: each }, each.replaceAll("_", " "))));
    this.kind = kind;
    this.state = state;
    for (const tab of this.tabs) tab.toggleAttribute("aria-current", tab.dataset.kind === kind);
    for (const tab of this.tabs) if (tab.dataset.kind === kind) tab.setAttribute("aria-current", "true");
    this.filter.value = state;
    this.list.setAttribute("aria-label", spec.title);
    this.live?.close();
    this.rows.clear();
    this.list.textContent = "";
    /** @type {LiveList<Item>} */
    const live = new LiveList({ path: spec.path, idOf, params: state ? { state } : {}, onChange: () => { if (this.live === live) this.draw(); } });
    this.live = live;
    await live.load(this.feed?.after); // events up to there are not sent again
    if (this.live === live) this.follow(live.asOfPosition);
  }

  /** @param {number} position */
  follow(position) {
    this.feed ??= new Feed({ params: { type: ROW_EVENT_TYPES }, after: position, onState: this.onState, onEvents: (events) => {
      const stream = this.kind ? KINDS[this.kind].stream : "";
      for (const event of events) if (stream && event.stream.startsWith(stream)) this.live?.markChanged(event.stream.slice(stream.length), event.position);
      this.onEvents(events);
    } });
  }

  /** @param {string} id */
  select(id) {
    this.selected = id;
    for (const [key, row] of this.rows) this.markSelected(key, row);
  }

  /**
   * @param {string} key
   * @param {Row} row
   */
  markSelected(key, row) {
    if (key === this.selected) row.link.setAttribute("aria-current", "page");
    else row.link.removeAttribute("aria-current");
  }

  show() {
    if (!this.kind || !this.live) return;
    const items = this.live.items;
    this.hint.hidden = items.length > 0;
    this.hint.textContent = this.state ? "None in this state." : KINDS[this.kind].empty;
    this.more.hidden = !this.live.nextCursor;
    let next = this.list.firstElementChild;
    const wanted = new Set(items.map(idOf));
    for (const item of items) {
      const key = idOf(item), text = JSON.stringify(item);
      let row = this.rows.get(key);
      if (!row) {
        const link = el("a", { href: `#/${this.kind}/${encodeURIComponent(key)}`, class: "row", tabindex: "-1", data: { roving: "", id: key } });
        row = { item: el("li", {}, link), link, text: "" };
        this.rows.set(key, row);
        this.markSelected(key, row);
      }
      if (row.text !== text) {
        row.text = text;
        row.link.dataset.kind = kindOf(item.state);
        fill(row.link, "runId" in item ? runRow(item) : sessionRow(item));
      }
      if (row.item === next) next = next.nextElementSibling;
      else this.list.insertBefore(row.item, next);
    }
    for (const [key, row] of this.rows) if (!wanted.has(key)) { row.item.remove(); this.rows.delete(key); }
    this.roving.ensureCurrent();
  }
}

/** @param {Item} item */
function idOf(item) { return "runId" in item ? item.runId : item.sessionId; }

/** @param {Api.RunSummary} run */
function runRow(run) {
  return [
    el("span", { class: "row-head" }, el("span", { class: "row-name" }, run.runId), stateChip(run.state)),
    el("span", { class: "row-more" }, [run.provider || "outside", run.sessionId, usageText(run.usage)].filter(Boolean).join(" · ")),
    el("span", { class: "row-more" }, ago(run.finishedAt ?? run.startedAt ?? run.createdAt, run.finishedAt ? "ended " : run.startedAt ? "started " : "queued ")),
  ];
}

/** @param {Api.SessionWorkerView} session */
function sessionRow(session) {
  return [
    el("span", { class: "row-head" }, el("span", { class: "row-name" }, session.sessionId), sessionChip(session)),
    el("span", { class: "row-more" }, `${session.appId} · ${session.projectName} · ${session.userLoginName}`),
    el("span", { class: "row-more" }, session.attachedRunId ? `runs ${session.attachedRunId} · ` : "", ago(session.lastActiveAt, "active ")),
  ];
}
