// @ts-check
// The live feed of the log: GET /api/events as server-sent events after a position, each event exactly once.
// EventSource can't send an Authorization header, so the frames are read from a fetch.
import { currentKey, headers, pause, requireNewKey, urlOf } from "./api.js";
import { oncePerFrame } from "./dom.js";

/** @import { Params } from "./api.js" */
/** @typedef {"connecting" | "live" | "waiting"} ConnectionState */
/**
 * @typedef {object} FeedOptions
 * @property {Params} params  The filters of GET /api/events.
 * @property {number} after  Only events after this position.
 * @property {(events: LogEvent[]) => void} onEvents  Gets them in batches, at most one per animation frame.
 * @property {(state: ConnectionState) => void} [onState]
 */

const SILENCE_MS = 40_000; // the server sends something every 15 s

export class Feed {
  /** @param {FeedOptions} options */
  constructor({ params, after, onEvents, onState = () => {} }) {
    this.params = params;
    this.after = after;
    this.onState = onState;
    /** @type {LogEvent[]} */
    this.batch = [];
    this.closing = new AbortController();
    /** @type {AbortController | null} */
    this.connection = null;
    this.received = false;
    /** @type {(() => void) | null} */
    this.wake = null;
    this.flush = oncePerFrame(() => {
      const events = this.batch;
      this.batch = [];
      if (events.length && !this.closing.signal.aborted) onEvents(events);
    });
    // Browsers allow few connections to one server: a hidden tab closes its own.
    this.onVisibility = () => { if (document.hidden) this.connection?.abort(); else this.wake?.(); };
    document.addEventListener("visibilitychange", this.onVisibility);
    this.run();
  }

  close() {
    this.closing.abort();
    this.connection?.abort();
    this.wake?.();
    document.removeEventListener("visibilitychange", this.onVisibility);
  }

  async run() {
    for (let attempt = 0; !this.closing.signal.aborted; attempt += 1) {
      if (document.hidden) await /** @type {Promise<void>} */ (new Promise((done) => { this.wake = done; }));
      if (this.closing.signal.aborted) return;
      this.onState(attempt ? "waiting" : "connecting");
      this.received = false;
      try { await this.connected(); } catch { /* tried again */ }
      if (this.received) attempt = 0;
      if (this.closing.signal.aborted) return;
      this.onState("waiting");
      try { await pause(attempt + 1, this.closing.signal); } catch { return; }
    }
  }

  /** Reads one connection to its end. */
  async connected() {
    const connection = new AbortController();
    this.connection = connection;
    const key = currentKey();
    /** @type {RequestInit} */
    const options = { headers: headers({ accept: "text/event-stream", "last-event-id": String(this.after) }), signal: connection.signal, cache: "no-store" };
    let watch = setTimeout(() => connection.abort(), SILENCE_MS);
    try {
      const answer = await fetch(urlOf("api/events", this.params), options);
      if (answer.status === 401) { await requireNewKey(key); return; }
      if (!answer.ok || !answer.body) return;
      this.onState("live");
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        this.received = true;
        clearTimeout(watch);
        watch = setTimeout(() => connection.abort(), SILENCE_MS);
        const frames = (rest + value).split("\n\n");
        rest = frames.pop() ?? "";
        for (const frame of frames) this.receive(frame);
      }
    } finally {
      clearTimeout(watch);
      connection.abort();
    }
  }

  /** @param {string} frame */
  receive(frame) {
    if (!frame.startsWith("id:")) return; // a comment, or a frame without an event
    const data = frame.split("\n").find((line) => line.startsWith("data:"));
    if (!data) return;
    /** @type {LogEvent} */
    const event = JSON.parse(data.slice(5));
    if (event.position <= this.after) return;
    this.after = event.position;
    this.batch.push(event);
    this.flush();
  }
}
