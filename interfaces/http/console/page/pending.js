// The questions that wait for a person, in all runs.
import { get } from "./api.js";
import { announce, throttled } from "./dom.js";

export class PendingQuestions {
  /** `onCount` hears how many there are; a page that shows them sets `onChange`. */
  constructor(onCount) {
    Object.assign(this, { onCount, onChange: () => {}, total: 0, requests: [], position: 0, loaded: false });
    this.catchUp = throttled(() => this.load(), 250);
  }

  take(events) {
    const asked = events.filter((event) => event.type === "human_loop.requested");
    for (const event of asked) announce(`Run ${event.stream.slice(4)} asks: ${event.payload.prompt ?? ""}`);
    const last = events.findLast((event) => event.type.startsWith("human_loop.") || event.type === "run.finished");
    if (!last) return;
    this.position = last.position;
    this.catchUp();
  }

  async load() {
    const answer = await get("api/human-loop/pending", { limit: 50, minPosition: this.position || undefined });
    this.requests = answer.requests.filter((request) => request.status === "open");
    this.total = answer.total - (answer.requests.length - this.requests.length);
    this.loaded = true;
    this.onCount(this.total);
    this.onChange();
  }
}
