// @ts-check
// One run or session: its events, live, with a slider for time travel, and the state beside it.
import { command, get, messageOf } from "./api.js";
import { askToConfirm } from "./dialogs.js";
import { el, fill, throttled } from "./dom.js";
import { EventWindow } from "./event-window.js";
import { Feed } from "./feed.js";
import { ago, hasEnded, sessionChip, stateChip, usageText } from "./format.js";
import { Inspector } from "./inspector.js";
import { Scrubber } from "./scrubber.js";
import { TimelineView } from "./timeline-view.js";

/** @import { Info } from "./inspector.js" */
/** @import { Block } from "./timeline-model.js" */

const NEAR_END_PX = 120, INSPECT_MS = 300;

export class HistoryPage {
  /**
   * @param {HTMLElement} main
   * @param {object} options
   * @param {"run" | "session"} options.kind
   * @param {string} options.id
   * @param {URLSearchParams} options.query  May have a `seq`.
   * @param {number | null} [options.focusAt]  The position of the event whose block gets the focus.
   */
  constructor(main, { kind, id, query, focusAt = null }) {
    this.kind = kind;
    this.id = id;
    this.focusAt = focusAt;
    this.seq = seqFromQuery(query);
    this.stopping = new AbortController();
    this.moving = 0;
    /** @type {Feed | null} */
    this.feed = null;
    /** @type {HTMLButtonElement | null} */
    this.cancelButton = null;
    this.path = kind === "run" ? `api/runs/${encodeURIComponent(id)}` : `api/session-workers/${encodeURIComponent(id)}`;
    this.base = `#/${kind}s/${encodeURIComponent(id)}`;
    this.events = new EventWindow(`${kind}:${id}`, this.stopping.signal);
    this.title = el("h1", { tabindex: "-1" }, id);
    this.meta = el("p", { class: "meta" });
    this.chip = el("span", { class: "head-chip" });
    this.now = el("span", { class: "soft", hidden: true }, "now");
    this.actions = el("div", { class: "head-actions" });
    this.prompt = el("div", { class: "prompt-place" });
    this.earlier = el("button", { type: "button", class: "more", hidden: true, on: { click: () => this.loadMore("earlier") } }, "Earlier events");
    this.later = el("button", { type: "button", class: "more", hidden: true, on: { click: () => this.loadMore("later") } }, "Later events");
    this.list = el("ol", { class: "timeline", "aria-label": "Timeline" });
    this.view = new TimelineView(this.list, {
      runId: id,
      onWhy: (block) => { location.hash = `#/events/${block.position}/why`; },
      onState: (block) => { this.scrubber.stop(); this.scrubber.pin(block.to); },
    });
    this.newest = el("button", { type: "button", class: "newest", hidden: true, on: { click: () => { this.toLive(); this.toEnd(); } } }, "New events ↓");
    this.pane = el("div", { class: "timeline-pane", on: { scroll: () => { if (this.atEnd()) this.newest.hidden = true; } } }, this.prompt, this.earlier, this.list, this.later, this.newest);
    this.inspector = new Inspector({ kind, id, linkTo: (seq) => `${this.base}?seq=${seq}`, onInfo: (info) => this.showInfo(info) });
    this.scrubber = new Scrubber({ onPin: (seq) => this.pin(seq), eventAt: (seq) => this.events.at(seq), startOf: () => this.events.start });
    main.append(el("article", { class: "history", "aria-label": `${kind} ${id}` },
      el("header", { class: "head" }, el("div", { class: "head-line" }, el("a", { class: "back", href: `#/${kind}s` }, "‹ All"), this.title, this.now, this.chip, this.actions), this.meta),
      el("div", { class: "columns" }, this.pane, this.inspector.element), this.scrubber.element));
    this.forkError = el("span", { class: "wrong", role: "alert" });
    this.forkButton = el("button", { type: "button", class: "quiet", title: "A new session with the files and the conversation as they were here", on: { click: () => this.fork() } }, "Fork here");
    if (kind === "run") fill(this.scrubber.extra, this.forkButton, this.forkError);
    this.inspect = throttled(async () => this.inspector.show(this.seq, this.events.end, this.events.endPosition), INSPECT_MS);
    this.ready = this.load();
  }

  close() {
    this.stopping.abort();
    this.feed?.close();
    this.scrubber.stop();
    this.inspector.close();
  }

  /**
   * If the route is a seq of this stream, show it; returns whether it is.
   * @param {string[]} parts
   * @param {URLSearchParams} query
   */
  tryNavigate([kind, id], query) {
    if (kind !== `${this.kind}s` || id !== this.id) return false;
    this.showSeq(seqFromQuery(query));
    return true;
  }

  async load() {
    const info = await this.read({});
    this.showInfo(info);
    this.view.plainText = "runId" in info && info.provider === "scripted";
    await this.events.open(info.seq, info.position, this.seq);
    this.feed = new Feed({ params: { stream: `${this.kind}:${this.id}` }, after: this.events.endPosition, onEvents: (events) => this.receive(events) });
    this.showPrompt();
    this.drawAll();
    this.showSeq(this.seq);
    if (this.seq === null) this.toEnd();
    if (this.focusAt !== null) this.focusPosition(this.focusAt);
  }

  /**
   * @param {{ minPosition?: number }} params
   * @returns {Promise<Info>}
   */
  read(params) { return get(this.path, params, this.stopping.signal); }

  /** @param {LogEvent[]} events */
  receive(events) {
    const following = this.seq === null && this.atEnd();
    const changed = this.events.receive(events);
    if (changed) {
      if (following && this.events.trim()) this.drawAll();
      else this.draw(changed);
      if (following) this.toEnd();
      else if (this.seq === null) this.newest.hidden = false;
    }
    this.scrubber.setEnd(this.events.end);
    if (this.seq === null) this.inspect();
    if (this.seq !== null && events.some((event) => event.type === "run.finished")) this.read({ minPosition: this.events.endPosition }).then((info) => this.showInfo(info)).catch(() => {});
  }

  /** @param {Set<Block>} changed */
  draw(changed) {
    this.view.show(this.events.blocks, changed, this.events.start);
    this.earlier.hidden = this.events.lo <= 1;
    this.later.hidden = this.events.hi >= this.events.end;
    this.view.mark(this.seq, this.events.pastBlocks(this.seq));
  }

  drawAll() {
    this.draw(new Set(this.events.blocks));
    this.scrubber.setEnd(this.events.end);
  }

  /** @param {"earlier" | "later"} where */
  async loadMore(where) {
    const seen = this.events.blocks.find((block) => (this.view.itemAt(block.from)?.getBoundingClientRect().bottom ?? 0) > this.pane.getBoundingClientRect().top);
    const top = seen ? this.view.itemAt(seen.to)?.getBoundingClientRect().top ?? 0 : 0;
    await this.events.loadMore(where);
    this.drawAll();
    const item = where === "earlier" && seen ? this.view.itemAt(seen.to) : null;
    if (item) this.scroller().scrollTop += item.getBoundingClientRect().top - top;
  }

  /**
   * The user chose a seq; null: live.
   * @param {number | null} seq
   */
  pin(seq) {
    history.replaceState(null, "", seq === null ? this.base : `${this.base}?seq=${seq}`);
    this.showSeq(seq);
  }

  /** @param {number | null} seq */
  showSeq(seq) {
    this.seq = seq === null ? null : Math.max(1, Math.min(seq, this.events.end));
    this.now.hidden = this.seq === null;
    this.scrubber.set(this.seq);
    this.inspector.show(this.seq, this.events.end, this.events.endPosition);
    this.scrollToSeq();
  }

  async scrollToSeq() {
    const seq = this.seq;
    if (!this.events.has(seq ?? this.events.end)) {
      clearTimeout(this.moving);
      this.moving = setTimeout(async () => {
        try { await this.events.moveTo(seq); } catch { return; }
        if (this.seq === seq) { this.drawAll(); this.scrollToSeq(); }
      }, 150);
      return;
    }
    this.view.mark(seq, this.events.pastBlocks(seq));
    const item = seq === null ? null : this.view.itemAt(seq);
    // Blocks above it may change their height when they are rendered, so scroll again for some frames.
    /** @param {number} frames */
    const into = (frames) => { item?.scrollIntoView({ block: "nearest" }); if (frames && this.seq === seq) requestAnimationFrame(() => into(frames - 1)); };
    if (item) into(3);
    else if (seq === null) this.toEnd();
  }

  get address() { return this.seq === null ? this.base : `${this.base}?seq=${this.seq}`; }

  /** @param {number} by */
  step(by) { this.scrubber.step(by); }

  toLive() { this.scrubber.stop(); this.scrubber.pin(null); }

  /** @param {number} position */
  focusPosition(position) {
    const block = this.events.blocks.find((each) => each.position === position);
    const item = block && this.view.itemAt(block.to);
    if (!item) return;
    item.focus();
    item.scrollIntoView({ block: "center" });
  }

  /** On a wide screen the timeline has its own scrollbar, on a narrow one it scrolls with the page. */
  scrollsItself() { return getComputedStyle(this.pane).overflowY !== "visible"; }

  scroller() { return this.scrollsItself() ? this.pane : document.scrollingElement ?? document.documentElement; }

  atEnd() { const pane = this.scroller(); return pane.scrollHeight - pane.scrollTop - pane.clientHeight < NEAR_END_PX; }

  toEnd() {
    this.newest.hidden = true;
    if (!this.scrollsItself()) return;
    // Blocks get their final height only when they are rendered, so scroll again for some frames.
    let frames = 0;
    const down = () => { this.pane.scrollTop = this.pane.scrollHeight; frames += 1; if (frames < 4 && this.seq === null) requestAnimationFrame(down); };
    down();
  }

  /**
   * Show the current state in the header.
   * @param {Info} info
   */
  showInfo(info) {
    fill(this.chip, "runId" in info ? stateChip(info.state) : sessionChip(info));
    /** @type {(kind: "runs" | "sessions", id: string) => HTMLElement} */
    const link = (kind, id) => el("a", { href: `#/${kind}/${encodeURIComponent(id)}` }, id);
    fill(this.meta, "runId" in info
      ? [[info.provider || "outside", info.model].filter((each) => each && each !== "none").join(" · "), " · session ", link("sessions", info.sessionId), ` · ${info.userLoginName || "nobody"} · `, ago(info.createdAt), usageText(info.usage) ? ` · ${usageText(info.usage)}` : ""]
      : [`${info.appId} · ${info.projectName} · ${info.userLoginName} · `, ago(info.createdAt, "created "), info.attachedRunId ? [" · runs ", link("runs", info.attachedRunId)] : null]);
    const mayCancel = "runId" in info && !hasEnded(info.state);
    if (mayCancel !== Boolean(this.cancelButton)) {
      this.cancelButton = mayCancel ? el("button", { type: "button", class: "danger-quiet", on: { click: () => this.cancel() } }, "Cancel run") : null;
      fill(this.actions, this.cancelButton);
    }
  }

  /** Fork at the slider's seq, and go to the new session. */
  async fork() {
    this.forkButton.disabled = true;
    this.forkError.textContent = "";
    try {
      /** @type {Api.SessionForkedAnswer | Api.ForkPending} */
      const answer = await command(`${this.path}/fork`, { atSeq: this.seq ?? this.events.end }, { waitMs: 5000 });
      location.hash = `#/sessions/${encodeURIComponent(answer.sessionId)}`;
    } catch (error) {
      this.forkError.textContent = messageOf(error);
      this.forkButton.disabled = false;
    }
  }

  async cancel() {
    if (!(await askToConfirm("Cancel this run?", `The agent of ${this.id} is ended; what it wrote stays in the workspace.`, "Cancel run"))) return;
    const button = this.cancelButton;
    if (!button) return;
    button.disabled = true;
    try { await command(`${this.path}/stop`, {}); } catch (error) { button.disabled = false; fill(this.actions, button, el("span", { class: "wrong", role: "alert" }, messageOf(error))); }
  }

  showPrompt() {
    const { first } = this.events;
    const messages = first?.type === "run.queued" || first?.type === "run.blocked" ? first.payload.spec.messages : [];
    const said = messages.findLast((message) => message.role === "user")?.content ?? "";
    if (!said) return;
    const whole = el("div", { class: "prompt-text" }, said);
    const long = said.length > 280 || said.split("\n").length > 4;
    const section = el("section", { class: `prompt ${long ? "is-long" : ""}`, "aria-label": "Task" }, el("h2", { class: "prompt-title" }, "Task"), whole);
    const more = el("button", { type: "button", class: "quiet", "aria-expanded": "false", on: { click: () => { const open = section.classList.toggle("is-open"); more.textContent = open ? "Show less" : "Show all"; more.setAttribute("aria-expanded", String(open)); } } }, "Show all");
    if (long) section.append(more);
    fill(this.prompt, section);
  }
}

/** @param {URLSearchParams} query */
function seqFromQuery(query) {
  const text = query.get("seq") ?? "";
  return /^\d{1,9}$/.test(text) ? Math.max(1, Number(text)) : null;
}
