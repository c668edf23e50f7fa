// @ts-check
// The time travel slider over a stream's events: choose a seq, step, play, go live.
import { el, fill } from "./dom.js";
import { duration, msBetween } from "./format.js";

export class Scrubber {
  /**
   * @param {object} options
   * @param {(seq: number | null) => void} options.onPin  Gets the chosen seq, null for live.
   * @param {(seq: number) => LogEvent | null} options.eventAt  The event, if it is loaded.
   * @param {() => string | null} options.startOf  When the stream began.
   */
  constructor({ onPin, eventAt, startOf }) {
    this.onPin = onPin;
    this.eventAt = eventAt;
    this.startOf = startOf;
    this.end = 1;
    /** @type {number | null} */
    this.seq = null;
    this.timer = 0;
    this.range = el("input", { type: "range", min: "1", max: "1", value: "1", step: "1", id: "seq", "aria-label": "Event", on: { input: () => { this.stop(); this.pin(Number(this.range.value)); } } });
    /** @type {(label: string, text: string, click: () => void) => HTMLButtonElement} */
    const button = (label, text, click) => el("button", { type: "button", class: "quiet", "aria-label": label, title: label, on: { click } }, text);
    this.playing = button("Play", "▶", () => (this.timer ? this.stop() : this.play()));
    this.label = el("output", { class: "scrub-label", for: "seq" });
    this.live = el("button", { type: "button", class: "live-button", id: "live", on: { click: () => { this.stop(); this.pin(null); } } }, "Live");
    this.extra = el("span", { class: "scrub-extra" });
    this.element = el("footer", { class: "scrubber", role: "group", "aria-label": "Time travel" },
      button("One event back", "‹", () => this.step(-1)), this.playing, button("One event on", "›", () => this.step(1)),
      this.range, this.label, this.extra, this.live);
  }

  /**
   * The stream has grown to `end`.
   * @param {number} end
   */
  setEnd(end) {
    this.end = end;
    this.range.max = String(end);
    this.show();
  }

  /**
   * Show a seq without calling onPin; null: live.
   * @param {number | null} seq
   */
  set(seq) { this.seq = seq; this.show(); }

  /** @param {number | null} seq */
  pin(seq) {
    const bounded = seq === null ? null : Math.max(1, Math.min(this.end, seq));
    this.set(bounded);
    this.onPin(bounded);
  }

  /** @param {number} by */
  step(by) { this.stop(); this.pin((this.seq ?? this.end) + by); }

  /** Play from here, or at the end from the beginning, at the original pace; pauses are cut to 1 s. */
  play() {
    if (this.seq === null || this.seq >= this.end) this.pin(1);
    this.playing.textContent = "❚❚";
    this.playing.setAttribute("aria-label", "Pause");
    const next = () => {
      if (this.seq === null || this.seq >= this.end) { this.stop(); return; }
      const seq = this.seq, here = this.eventAt(seq), then = this.eventAt(seq + 1);
      const wait = here && then ? Math.min(1000, Math.max(60, msBetween(then.occurredAt, here.occurredAt))) : 150;
      this.timer = setTimeout(() => { this.pin(seq + 1); next(); }, wait);
    };
    next();
  }

  stop() {
    clearTimeout(this.timer);
    this.timer = 0;
    this.playing.textContent = "▶";
    this.playing.setAttribute("aria-label", "Play");
  }

  show() {
    const seq = this.seq ?? this.end;
    this.range.value = String(seq);
    const event = this.eventAt(seq), start = this.startOf();
    const facts = [event?.type, event && start ? `+${duration(msBetween(event.occurredAt, start))}` : ""].filter(Boolean).join(" · ");
    this.range.setAttribute("aria-valuetext", `event ${seq} of ${this.end}${event ? `, ${event.type}` : ""}`);
    fill(this.label, el("strong", {}, `${seq} / ${this.end}`), facts ? el("span", { class: "soft" }, ` ${facts}`) : null);
    this.live.setAttribute("aria-pressed", String(this.seq === null));
  }
}
