// One run or one session: its events as they come, a slider over them, and the state beside it.
import { command, get } from "./api.js";
import { confirmed } from "./dialogs.js";
import { el, fill, throttled } from "./dom.js";
import { EventWindow } from "./event-window.js";
import { Feed } from "./feed.js";
import { Inspector } from "./inspector.js";
import { Scrubber } from "./scrubber.js";
import { TimelineView } from "./timeline-view.js";
import { ago, isOver, sessionChip, stateChip, usageText } from "./words.js";

const NEAR_END_PX = 120, INSPECT_MS = 300;

export class HistoryPage {
  /** `kind` is run or session; `query` may have a `seq`. `focusAt`: the position whose block gets the focus. */
  constructor(main, { kind, id, query, focusAt = null }) {
    Object.assign(this, { kind, id, focusAt, seq: seqOf(query), stopping: new AbortController() });
    this.path = kind === "run" ? `api/runs/${encodeURIComponent(id)}` : `api/session-workers/${encodeURIComponent(id)}`;
    this.base = `#/${kind}s/${encodeURIComponent(id)}`;
    this.events = new EventWindow(`${kind}:${id}`, this.stopping.signal);
    this.title = el("h1", { tabindex: "-1" }, id);
    this.meta = el("p", { class: "meta" });
    this.chip = el("span", { class: "head-chip" });
    this.actions = el("div", { class: "head-actions" });
    this.prompt = el("div", { class: "prompt-place" });
    this.earlier = el("button", { type: "button", class: "more", hidden: true, on: { click: () => this.grow("earlier") } }, "Earlier events");
    this.later = el("button", { type: "button", class: "more", hidden: true, on: { click: () => this.grow("later") } }, "Later events");
    this.list = el("ol", { class: "timeline", "aria-label": "Timeline" });
    this.newest = el("button", { type: "button", class: "newest", hidden: true, on: { click: () => { this.toLive(); this.toEnd(); } } }, "New events ↓");
    this.pane = el("div", { class: "timeline-pane", on: { scroll: () => { if (this.atEnd()) this.newest.hidden = true; } } }, this.prompt, this.earlier, this.list, this.later, this.newest);
    this.inspector = new Inspector({ kind, id, linkTo: (seq) => `${this.base}?seq=${seq}`, onInfo: (info) => this.tell(info) });
    this.scrubber = new Scrubber({ onPin: (seq) => this.pin(seq), eventAt: (seq) => this.events.at(seq), startOf: () => this.events.start });
    main.append(el("article", { class: "history", "aria-label": `${kind} ${id}` },
      el("header", { class: "head" }, el("div", { class: "head-line" }, el("a", { class: "back", href: `#/${kind}s` }, "‹ All"), this.title, this.chip, this.actions), this.meta),
      el("div", { class: "columns" }, this.pane, this.inspector.element), this.scrubber.element));
    this.forked = el("span", { class: "wrong", role: "alert" });
    if (kind === "run") fill(this.scrubber.extra, el("button", { type: "button", class: "quiet", title: "A new session with the files and the conversation as they were here", on: { click: (event) => this.fork(event.target) } }, "Fork here"), this.forked);
    this.inspect = throttled(async () => this.inspector.show(this.seq, this.events.end, this.events.endPosition), INSPECT_MS);
    this.ready = this.load();
  }

  close() {
    this.stopping.abort();
    this.feed?.close();
    this.scrubber.stop();
    this.inspector.close();
  }

  /** A link to another seq of what is shown already. */
  stays([kind, id], query) {
    if (kind !== `${this.kind}s` || id !== this.id) return false;
    this.pinned(seqOf(query));
    return true;
  }

  async load() {
    const info = await get(this.path, {}, this.stopping.signal);
    this.tell(info);
    this.view = new TimelineView(this.list, {
      runId: this.id, plainText: info.provider === "scripted",
      onWhy: (block) => { location.hash = `#/events/${block.position}/why`; },
      onState: (block) => { this.scrubber.stop(); this.scrubber.pin(block.to); },
    });
    await this.events.open(info.seq, info.position, this.seq);
    this.feed = new Feed({ params: { stream: `${this.kind}:${this.id}` }, after: this.events.endPosition, onEvents: (events) => this.take(events) });
    this.tellPrompt();
    this.drawAll();
    this.pinned(this.seq);
    if (this.seq === null) this.toEnd();
    if (this.focusAt !== null) this.focusPosition(this.focusAt);
  }

  take(events) {
    const following = this.seq === null && this.atEnd();
    const changed = this.events.take(events);
    if (changed) {
      if (following && this.events.trim()) this.drawAll();
      else this.draw(changed);
      if (following) this.toEnd();
      else if (this.seq === null) this.newest.hidden = false;
    }
    this.scrubber.grow(this.events.end);
    if (this.seq === null) this.inspect();
    if (this.seq !== null && events.some((event) => event.type === "run.finished")) get(this.path, { minPosition: this.events.endPosition }, this.stopping.signal).then((info) => this.tell(info)).catch(() => {});
  }

  draw(changed) {
    this.view.show(this.events.blocks, changed, this.events.start);
    this.earlier.hidden = this.events.lo <= 1;
    this.later.hidden = this.events.hi >= this.events.end;
    this.view.mark(this.seq);
  }

  drawAll() {
    this.draw(new Set(this.events.blocks));
    this.scrubber.grow(this.events.end);
  }

  async grow(where) {
    const seen = this.events.blocks.find((block) => this.view.itemAt(block.from)?.getBoundingClientRect().bottom > this.pane.getBoundingClientRect().top);
    const top = seen ? this.view.itemAt(seen.to).getBoundingClientRect().top : 0;
    await this.events.grow(where);
    this.drawAll();
    const item = where === "earlier" && seen ? this.view.itemAt(seen.to) : null;
    if (item) this.scroller().scrollTop += item.getBoundingClientRect().top - top;
  }

  /** The person chose a seq, or live. */
  pin(seq) {
    history.replaceState(null, "", seq === null ? this.base : `${this.base}?seq=${seq}`);
    this.pinned(seq);
  }

  pinned(seq) {
    this.seq = seq === null ? null : Math.max(1, Math.min(seq, this.events.end));
    this.scrubber.set(this.seq);
    this.inspector.show(this.seq, this.events.end, this.events.endPosition);
    this.showPlace();
  }

  async showPlace() {
    const seq = this.seq;
    if (!this.events.has(seq ?? this.events.end)) {
      clearTimeout(this.moving);
      this.moving = setTimeout(async () => {
        try { await this.events.moveTo(seq); } catch { return; }
        if (this.seq === seq) { this.drawAll(); this.showPlace(); }
      }, 150);
      return;
    }
    this.view.mark(seq);
    const item = seq === null ? null : this.view.itemAt(seq);
    // What is above it may take another height once it is drawn.
    const into = (frames) => { item.scrollIntoView({ block: "nearest" }); if (frames && this.seq === seq) requestAnimationFrame(() => into(frames - 1)); };
    if (item) into(3);
    else if (seq === null) this.toEnd();
  }

  get address() { return this.seq === null ? this.base : `${this.base}?seq=${this.seq}`; }

  step(by) { this.scrubber.step(by); }

  toLive() { this.scrubber.stop(); this.scrubber.pin(null); }

  focusPosition(position) {
    const block = this.events.blocks.find((each) => each.position === position);
    const item = block && this.view.itemAt(block.to);
    if (!item) return;
    item.focus();
    item.scrollIntoView({ block: "center" });
  }

  /** On a wide screen the timeline scrolls by itself, on a narrow one with the page. */
  scrollsItself() { return getComputedStyle(this.pane).overflowY !== "visible"; }

  scroller() { return this.scrollsItself() ? this.pane : document.scrollingElement; }

  atEnd() { const pane = this.scroller(); return pane.scrollHeight - pane.scrollTop - pane.clientHeight < NEAR_END_PX; }

  toEnd() {
    this.newest.hidden = true;
    if (!this.scrollsItself()) return;
    // What comes into view takes its real height only when it is drawn: some frames until the end is the end.
    let frames = 0;
    const down = () => { this.pane.scrollTop = this.pane.scrollHeight; if ((frames += 1) < 4 && this.seq === null) requestAnimationFrame(down); };
    down();
  }

  /** What the head says of the present state. */
  tell(info) {
    fill(this.chip, this.kind === "run" ? stateChip(info.state) : sessionChip(info));
    const link = (kind, id) => el("a", { href: `#/${kind}/${encodeURIComponent(id)}` }, id);
    fill(this.meta, this.kind === "run"
      ? [[info.provider || "outside", info.model].filter((each) => each && each !== "none").join(" · "), " · session ", link("sessions", info.sessionId), ` · ${info.userLoginName || "nobody"} · `, ago(info.createdAt), usageText(info.usage) ? ` · ${usageText(info.usage)}` : ""]
      : [`${info.appId} · ${info.projectName} · ${info.userLoginName} · `, ago(info.createdAt, "created "), info.attachedRunId ? [" · runs ", link("runs", info.attachedRunId)] : null]);
    const mayCancel = this.kind === "run" && !isOver(info.state);
    if (mayCancel !== Boolean(this.cancelButton)) {
      this.cancelButton = mayCancel ? el("button", { type: "button", class: "danger-quiet", on: { click: () => this.cancel() } }, "Cancel run") : null;
      fill(this.actions, this.cancelButton);
    }
  }

  /** A new session that begins where the slider is; the page goes there. */
  async fork(button) {
    button.disabled = true;
    this.forked.textContent = "";
    try {
      const answer = await command(`${this.path}/fork`, { atSeq: this.seq ?? this.events.end }, { waitMs: 5000 });
      location.hash = `#/sessions/${encodeURIComponent(answer.sessionId)}`;
    } catch (error) {
      this.forked.textContent = error.message;
      button.disabled = false;
    }
  }

  async cancel() {
    if (!(await confirmed("Cancel this run?", `The agent of ${this.id} is ended; what it wrote stays in the workspace.`, "Cancel run"))) return;
    this.cancelButton.disabled = true;
    try { await command(`${this.path}/stop`, {}); } catch (error) { this.cancelButton.disabled = false; fill(this.actions, this.cancelButton, el("span", { class: "wrong", role: "alert" }, error.message)); }
  }

  tellPrompt() {
    const messages = this.events.first?.payload.spec?.messages ?? [];
    const said = messages.findLast((message) => message.role === "user")?.content ?? "";
    if (!said) return;
    const whole = el("div", { class: "prompt-text" }, said);
    const long = said.length > 280 || said.split("\n").length > 4;
    fill(this.prompt, el("section", { class: `prompt ${long ? "is-long" : ""}`, "aria-label": "Task" }, el("h2", { class: "prompt-title" }, "Task"), whole,
      long ? el("button", { type: "button", class: "quiet", "aria-expanded": "false", on: { click: (event) => { const open = whole.parentElement.classList.toggle("is-open"); event.target.textContent = open ? "Show less" : "Show all"; event.target.setAttribute("aria-expanded", String(open)); } } }, "Show all") : null));
  }
}

function seqOf(query) {
  const text = query.get("seq") ?? "";
  return /^\d{1,9}$/.test(text) ? Math.max(1, Number(text)) : null;
}
