// @ts-check
// A window of a stream's events, seq `lo` to `hi` without gaps, and the blocks that they fold to. The rest of a long stream is not loaded.
import { get } from "./api.js";
import { Timeline } from "./timeline-model.js";

/** @import { Block } from "./timeline-model.js" */
/** @typedef {{ events: LogEvent[], nextAfter: number | null }} EventPage */

const PAGE = 500, MAX_EVENTS = 4000, MAX_PAGES = 40;

export class EventWindow {
  /**
   * @param {string} stream
   * @param {AbortSignal} signal
   */
  constructor(stream, signal) {
    this.stream = stream;
    this.signal = signal;
    /** @type {LogEvent[]} */
    this.events = [];
    this.timeline = new Timeline();
    this.end = 0;
    this.endPosition = 0;
    /** @type {LogEvent | null} */
    this.first = null;
  }

  get lo() { return this.events[0]?.seq ?? 1; }
  get hi() { return this.events.at(-1)?.seq ?? 0; }
  get blocks() { return this.timeline.blocks; }
  get start() { return this.first?.occurredAt ?? null; }
  /** @param {number} seq */
  has(seq) { return this.lo <= seq && seq <= this.hi; }
  /** @param {number} seq */
  at(seq) { return this.has(seq) ? this.events[seq - this.lo] : seq === 1 ? this.first : null; }

  /**
   * Load the events around `seq` (null: the last ones) of a stream whose last seq is `end`.
   * @param {number} end
   * @param {number} position
   * @param {number | null} seq
   */
  async open(end, position, seq) {
    this.end = end;
    this.endPosition = position;
    await this.moveTo(seq);
    this.first = this.lo === 1 ? this.events[0] : (await this.fetchPage(0, 1)).events[0];
  }

  /** @param {number | null} seq */
  async moveTo(seq) {
    const around = seq === null ? this.end - PAGE : seq - PAGE / 2;
    /** @type {number | null} */
    let after = Math.max(0, around);
    const events = [];
    for (let page = 0; page < MAX_PAGES; page += 1) {
      /** @type {EventPage} */
      const answer = await this.fetchPage(after, PAGE);
      events.push(...answer.events);
      after = answer.nextAfter;
      if (after === null || (seq !== null && events.length)) break;
    }
    this.fold(events.slice(-MAX_EVENTS));
    this.advanceEnd(this.events.at(-1));
  }

  /**
   * Load one more page before or after the window. Events beyond the maximum are dropped at the other side.
   * @param {"earlier" | "later"} where
   */
  async loadMore(where) {
    if (where === "earlier") {
      const after = Math.max(0, this.lo - 1 - PAGE);
      const { events } = await this.fetchPage(after, this.lo - 1 - after);
      this.fold([...events, ...this.events].slice(0, MAX_EVENTS));
    } else {
      const { events } = await this.fetchPage(this.hi, PAGE);
      this.fold([...this.events, ...events].slice(-MAX_EVENTS));
      this.advanceEnd(this.events.at(-1));
    }
  }

  /**
   * Add live events, in order. Returns the changed blocks; null if the events are beyond the window.
   * @param {LogEvent[]} events
   */
  receive(events) {
    /** @type {Set<Block>} */
    const changed = new Set();
    let touched = false;
    for (const event of events) {
      if (event.seq <= this.end) continue;
      const attached = this.hi === this.end;
      this.advanceEnd(event);
      if (!attached) continue;
      this.events.push(event);
      changed.add(this.timeline.add(event));
      touched = true;
    }
    return touched ? changed : null;
  }

  /**
   * Of the blocks that had not got all their events by `seq`: what they were then.
   * @param {number | null} seq
   */
  pastBlocks(seq) {
    /** @type {Map<Block, Block>} */
    const past = new Map();
    if (seq === null) return past;
    const grown = this.blocks.filter((block) => block.from <= seq && seq < Math.max(block.to, block.endSeq ?? 0));
    if (!grown.length) return past;
    const then = new Map(folded(this.events.filter((event) => event.seq <= seq)).blocks.map((block) => [block.from, block]));
    for (const block of grown) past.set(block, then.get(block.from) ?? block);
    return past;
  }

  /** Drop the oldest events when there are too many to render; returns whether it did. */
  trim() {
    if (this.events.length <= MAX_EVENTS) return false;
    this.fold(this.events.slice(-MAX_EVENTS / 2));
    return true;
  }

  /** @param {LogEvent | undefined} event */
  advanceEnd(event) {
    if (!event || event.seq <= this.end) return;
    this.end = event.seq;
    this.endPosition = event.position;
  }

  /** @param {LogEvent[]} events */
  fold(events) {
    this.events = events;
    this.timeline = folded(events);
  }

  /**
   * @param {number} after
   * @param {number} limit
   * @returns {Promise<EventPage>}
   */
  fetchPage(after, limit) {
    return get(`api/streams/${this.stream}/events`, { after, limit }, this.signal);
  }
}

/** @param {LogEvent[]} events */
function folded(events) {
  const timeline = new Timeline();
  for (const event of events) timeline.add(event);
  return timeline;
}
