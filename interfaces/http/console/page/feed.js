// The live feed of the log: GET /api/events as server-sent events, from a position on, without a gap or a repeat.
// EventSource can't send a key, so the frames are read off a fetch.
import { headers, newKey, pause, urlOf } from "./api.js";
import { oncePerFrame } from "./dom.js";

const SILENCE_MS = 40_000; // the server says something every 15 s

export class Feed {
  /** Events after position `after` go to `onEvents` in batches, one a frame; `onState` hears connecting, live, waiting. */
  constructor({ params, after, onEvents, onState = () => {} }) {
    Object.assign(this, { params, after, onEvents, onState });
    this.batch = [];
    this.closing = new AbortController();
    this.flush = oncePerFrame(() => {
      const events = this.batch;
      this.batch = [];
      if (events.length && !this.closing.signal.aborted) this.onEvents(events);
    });
    // A browser has few connections to a server: a tab that nobody sees leaves its own to others.
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
      if (document.hidden) await new Promise((done) => { this.wake = done; });
      if (this.closing.signal.aborted) return;
      this.onState(attempt ? "waiting" : "connecting");
      this.heard = false;
      try { await this.connected(); } catch { /* tried again */ }
      if (this.heard) attempt = 0;
      if (this.closing.signal.aborted) return;
      this.onState("waiting");
      try { await pause(attempt + 1, this.closing.signal); } catch { return; }
    }
  }

  /** Reads one connection to its end. */
  async connected() {
    const connection = this.connection = new AbortController();
    const key = sessionStorage.getItem("fleetlog.key");
    const options = { headers: headers({ accept: "text/event-stream", "last-event-id": String(this.after) }), signal: connection.signal, cache: "no-store" };
    let watch = setTimeout(() => connection.abort(), SILENCE_MS);
    try {
      const answer = await fetch(urlOf("api/events", this.params), options);
      if (answer.status === 401) { await newKey(key); return; }
      if (!answer.ok) return;
      this.onState("live");
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        this.heard = true;
        clearTimeout(watch);
        watch = setTimeout(() => connection.abort(), SILENCE_MS);
        const frames = (rest + value).split("\n\n");
        rest = frames.pop();
        for (const frame of frames) this.take(frame);
      }
    } finally {
      clearTimeout(watch);
      connection.abort();
    }
  }

  take(frame) {
    if (!frame.startsWith("id:")) return; // a comment, or a frame that only says where the stream is
    const data = frame.split("\n").find((line) => line.startsWith("data:"));
    const event = JSON.parse(data.slice(5));
    if (event.position <= this.after) return;
    this.after = event.position;
    this.batch.push(event);
    this.flush();
  }
}
