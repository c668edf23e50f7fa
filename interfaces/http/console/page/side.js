// The lists of runs and sessions at the side, as they change.
import { Feed } from "./feed.js";
import { el, fill, oncePerFrame } from "./dom.js";
import { Roving } from "./keys.js";
import { LiveList } from "./live-list.js";
import { ago, kindOf, sessionChip, stateChip, usageText } from "./words.js";

const KINDS = {
  runs: { path: "api/runs", id: "runId", stream: "run:", title: "Runs", empty: "No runs yet. Start one: POST /api/runs/start",
    states: ["queued", "running", "waiting_human", "succeeded", "failed", "canceled", "blocked"] },
  sessions: { path: "api/session-workers", id: "sessionId", stream: "session:", title: "Sessions", empty: "No sessions yet.",
    states: ["running", "stopped", "deleted"] },
};
// What changes a row; the many small events of agents' output do not.
const TYPES = [
  "run.queued", "run.bound", "run.blocked", "run.warning", "run.claimed", "run.retry_scheduled", "run.phase", "run.started", "tool.start",
  "human_loop.requested", "human_loop.reply_accepted", "human_loop.resolved", "human_loop.canceled", "human_loop.expired",
  "run.cancel_requested", "run.agent_finished", "run.syncing", "run.exported", "run.finished",
  "session.activation_requested", "session.reactivation_requested", "session.activated", "session.activation_failed", "session.touched",
  "session.run_attached", "session.run_detached", "session.sync_requested", "session.synced", "session.sync_failed", "session.stop_requested",
  "session.stop_canceled", "session.stopping", "session.stopped", "session.remove_requested", "session.remove_canceled", "session.removing",
  "session.removed", "session.container_lost", "session.forked", "session.workspace_copied", "session.fork_failed",
];

export class Side {
  /** `onEvents` hears every batch of the feed; `onState` how the connection is. */
  constructor(nav, { onEvents, onState }) {
    Object.assign(this, { nav, onEvents, onState, kind: "", rows: new Map(), selected: "" });
    this.draw = oncePerFrame(() => this.show());
    this.tabs = Object.entries(KINDS).map(([kind, { title }]) => el("a", { href: `#/${kind}`, class: "tab", data: { kind } }, title));
    this.filter = el("select", { id: "state-filter", "aria-label": "State", on: { change: () => this.open(this.kind, this.filter.value) } });
    this.list = el("ul", { class: "rows" });
    this.hint = el("p", { class: "hint", hidden: true });
    this.more = el("button", { type: "button", class: "more", hidden: true, on: { click: () => this.live.more() } }, "Show older");
    nav.append(el("div", { class: "side-head" }, el("div", { class: "tabs" }, this.tabs), this.filter), this.list, this.hint, this.more);
    this.roving = new Roving(this.list, () => [...this.list.querySelectorAll("[data-roving]")]);
  }

  /** Show runs or sessions, of one state or of all. */
  async open(kind, state = "") {
    if (this.kind === kind && this.state === state) return;
    const spec = KINDS[kind];
    if (this.kind !== kind) fill(this.filter, el("option", { value: "" }, "All states"), spec.states.map((each) => el("option", { value: each }, each.replaceAll("_", " "))));
    Object.assign(this, { kind, state });
    for (const tab of this.tabs) tab.toggleAttribute("aria-current", tab.dataset.kind === kind);
    for (const tab of this.tabs) if (tab.dataset.kind === kind) tab.setAttribute("aria-current", "true");
    this.filter.value = state;
    this.list.setAttribute("aria-label", spec.title);
    this.live?.close();
    this.rows.clear();
    this.list.textContent = "";
    const live = this.live = new LiveList({ path: spec.path, id: spec.id, params: state ? { state } : {}, onChange: () => { if (this.live === live) this.draw(); } });
    await live.load(this.feed?.after); // what the feed has told already, nobody tells again
    if (this.live === live) this.follow(live.asOfPosition);
  }

  follow(position) {
    this.feed ??= new Feed({ params: { type: TYPES }, after: position, onState: this.onState, onEvents: (events) => {
      const { stream } = KINDS[this.kind];
      for (const event of events) if (event.stream.startsWith(stream)) this.live.note(event.stream.slice(stream.length), event.position);
      this.onEvents(events);
    } });
  }

  select(id) {
    this.selected = id;
    for (const [key, row] of this.rows) this.mark(key, row);
  }

  mark(key, row) {
    if (key === this.selected) row.link.setAttribute("aria-current", "page");
    else row.link.removeAttribute("aria-current");
  }

  show() {
    const { id, empty } = KINDS[this.kind];
    const items = this.live.items;
    this.hint.hidden = items.length > 0;
    this.hint.textContent = this.state ? "None in this state." : empty;
    this.more.hidden = !this.live.nextCursor;
    let place = this.list.firstElementChild;
    const wanted = new Set(items.map((item) => item[id]));
    for (const item of items) {
      const key = item[id], text = JSON.stringify(item);
      let row = this.rows.get(key);
      if (!row) {
        const link = el("a", { href: `#/${this.kind}/${encodeURIComponent(key)}`, class: "row", tabindex: "-1", data: { roving: "", id: key } });
        row = { item: el("li", {}, link), link, text: "" };
        this.rows.set(key, row);
        this.mark(key, row);
      }
      if (row.text !== text) {
        row.text = text;
        row.link.dataset.kind = kindOf(item.state);
        fill(row.link, this.kind === "runs" ? runRow(item) : sessionRow(item));
      }
      if (row.item === place) place = place.nextElementSibling;
      else this.list.insertBefore(row.item, place);
    }
    for (const [key, row] of this.rows) if (!wanted.has(key)) { row.item.remove(); this.rows.delete(key); }
    this.roving.settle();
  }
}

function runRow(run) {
  return [
    el("span", { class: "row-head" }, el("span", { class: "row-name" }, run.runId), stateChip(run.state)),
    el("span", { class: "row-more" }, [run.provider || "outside", run.sessionId, usageText(run.usage)].filter(Boolean).join(" · ")),
    el("span", { class: "row-more" }, ago(run.finishedAt ?? run.startedAt ?? run.createdAt, run.finishedAt ? "ended " : run.startedAt ? "started " : "queued ")),
  ];
}

function sessionRow(session) {
  return [
    el("span", { class: "row-head" }, el("span", { class: "row-name" }, session.sessionId), sessionChip(session)),
    el("span", { class: "row-more" }, `${session.appId} · ${session.projectName} · ${session.userLoginName}`),
    el("span", { class: "row-more" }, session.attachedRunId ? `runs ${session.attachedRunId} · ` : "", ago(session.lastActiveAt, "active ")),
  ];
}

