// A part of a stream's events without gaps, from seq `lo` to `hi`, and the blocks that they fold to. Long streams stay in the log.
import { get } from "./api.js";
import { Timeline } from "./timeline-model.js";

const PAGE = 500, MOST = 4000, MOST_PAGES = 40;

export class EventWindow {
  constructor(stream, signal) {
    Object.assign(this, { stream, signal, events: [], end: 0, endPosition: 0, first: null });
    this.fold([]);
  }

  get lo() { return this.events[0]?.seq ?? 1; }
  get hi() { return this.events.at(-1)?.seq ?? 0; }
  get blocks() { return this.timeline.blocks; }
  get start() { return this.first?.occurredAt ?? null; }
  has(seq) { return this.lo <= seq && seq <= this.hi; }
  at(seq) { return this.has(seq) ? this.events[seq - this.lo] : seq === 1 ? this.first : null; }

  /** Load what is around `seq`, null: the end, of a stream that is known to reach `end`. */
  async open(end, position, seq) {
    Object.assign(this, { end, endPosition: position });
    await this.moveTo(seq);
    this.first = this.lo === 1 ? this.events[0] : (await this.page(0, 1)).events[0];
  }

  async moveTo(seq) {
    const around = seq === null ? this.end - PAGE : seq - PAGE / 2;
    let after = Math.max(0, around);
    const events = [];
    for (let page = 0; page < MOST_PAGES; page += 1) {
      const answer = await this.page(after, PAGE);
      events.push(...answer.events);
      after = answer.nextAfter;
      if (after === null || (seq !== null && events.length)) break;
    }
    this.fold(events.slice(-MOST));
    this.reached(this.events.at(-1));
  }

  /** One more page, before or behind; what comes live then goes on from there. */
  async grow(where) {
    if (where === "earlier") {
      const after = Math.max(0, this.lo - 1 - PAGE);
      const { events } = await this.page(after, this.lo - 1 - after);
      this.fold([...events, ...this.events].slice(0, MOST));
    } else {
      const { events } = await this.page(this.hi, PAGE);
      this.fold([...this.events, ...events].slice(-MOST));
      this.reached(this.events.at(-1));
    }
  }

  /** Live events, in order. The blocks that they changed; null when they are beyond the part that is loaded. */
  take(events) {
    const changed = new Set();
    let touched = false;
    for (const event of events) {
      if (event.seq <= this.end) continue;
      const attached = this.hi === this.end;
      this.reached(event);
      if (!attached) continue;
      this.events.push(event);
      const block = this.timeline.add(event);
      if (block) changed.add(block);
      touched = true;
    }
    return touched ? changed : null;
  }

  /** Forget the oldest half when there are too many to be shown well; whether it did. */
  trim() {
    if (this.events.length <= MOST) return false;
    this.fold(this.events.slice(-MOST / 2));
    return true;
  }

  reached(event) {
    if (!event || event.seq <= this.end) return;
    this.end = event.seq;
    this.endPosition = event.position;
  }

  fold(events) {
    this.events = events;
    this.timeline = new Timeline();
    for (const event of events) this.timeline.add(event);
  }

  page(after, limit) {
    return get(`api/streams/${this.stream}/events`, { after, limit }, this.signal);
  }
}
