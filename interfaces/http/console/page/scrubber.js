// The slider over a stream's events: any seq, one step, play, and back to live.
import { el, fill } from "./dom.js";
import { duration, since } from "./words.js";

export class Scrubber {
  /** `onPin` gets the seq that is asked for, null for live. `eventAt(seq)`: the event when it is loaded. */
  constructor({ onPin, eventAt, startOf }) {
    Object.assign(this, { onPin, eventAt, startOf, end: 1, seq: null, timer: 0 });
    this.range = el("input", { type: "range", min: "1", max: "1", value: "1", step: "1", id: "seq", "aria-label": "Event", on: { input: () => { this.stop(); this.pin(Number(this.range.value)); } } });
    const button = (label, text, click) => el("button", { type: "button", class: "quiet", "aria-label": label, title: label, on: { click } }, text);
    this.playing = button("Play", "▶", () => (this.timer ? this.stop() : this.play()));
    this.label = el("output", { class: "scrub-label", for: "seq" });
    this.live = el("button", { type: "button", class: "live-button", id: "live", on: { click: () => { this.stop(); this.pin(null); } } }, "Live");
    this.extra = el("span", { class: "scrub-extra" });
    this.element = el("footer", { class: "scrubber", role: "group", "aria-label": "Time travel" },
      button("One event back", "‹", () => this.step(-1)), this.playing, button("One event on", "›", () => this.step(1)),
      this.range, this.label, this.extra, this.live);
  }

  /** The stream has grown to `end`. */
  grow(end) {
    this.end = end;
    this.range.max = String(end);
    this.tell();
  }

  /** Show a seq that was pinned from elsewhere; null: live. */
  set(seq) { this.seq = seq; this.tell(); }

  pin(seq) {
    const bounded = seq === null ? null : Math.max(1, Math.min(this.end, seq));
    this.set(bounded);
    this.onPin(bounded);
  }

  step(by) { this.stop(); this.pin((this.seq ?? this.end) + by); }

  /** From here on, or from the beginning, in the run's own rhythm; long pauses shortened. */
  play() {
    if (this.seq === null || this.seq >= this.end) this.pin(1);
    this.playing.textContent = "❚❚";
    this.playing.setAttribute("aria-label", "Pause");
    const next = () => {
      if (this.seq === null || this.seq >= this.end) { this.stop(); return; }
      const here = this.eventAt(this.seq), then = this.eventAt(this.seq + 1);
      const wait = here && then ? Math.min(1000, Math.max(60, since(then.occurredAt, here.occurredAt))) : 150;
      this.timer = setTimeout(() => { this.pin(this.seq + 1); next(); }, wait);
    };
    next();
  }

  stop() {
    clearTimeout(this.timer);
    this.timer = 0;
    this.playing.textContent = "▶";
    this.playing.setAttribute("aria-label", "Play");
  }

  tell() {
    const seq = this.seq ?? this.end;
    this.range.value = String(seq);
    const event = this.eventAt(seq);
    const facts = [event?.type, event && this.startOf() ? `+${duration(since(event.occurredAt, this.startOf()))}` : ""].filter(Boolean).join(" · ");
    this.range.setAttribute("aria-valuetext", `event ${seq} of ${this.end}${event ? `, ${event.type}` : ""}`);
    fill(this.label, el("strong", {}, `${seq} / ${this.end}`), facts ? el("span", { class: "soft" }, ` ${facts}`) : null);
    this.live.setAttribute("aria-pressed", String(this.seq === null));
  }
}
